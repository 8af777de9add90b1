// Life of a backend, and what all its calls have in common. Its works are in work.cc, collectives in reduce.cc, gather.cc and
// exchange.cc, messages in point_to_point.cc.
#include "python/adapter/backend.h"

namespace regroup::python {

using Clock = std::chrono::steady_clock;

RegroupBackend::RegroupBackend(int rank, int size, Millis timeout, BackendConfig config)
    : Backend(rank, size), options_(c10::make_intrusive<Options>("regroup", timeout)), config_(std::move(config)) {
  options_->group_name = config_.group;
  init();
  if (!config_.deferred) open(nullptr);
}

std::unique_ptr<Group> RegroupBackend::join(const std::string& name, const Replay* replay) const {
  Result<regroup::Options> options = regroup::Options::from_environment();
  Status status = options.ok() ? Status{} : Status{options.error()};
  if (status.ok()) {
    options->coordinator = config_.coordinator;
    options->group = name;
    options->rank = rank_;
    options->world_size = size_;
    const double seconds = std::chrono::duration<double>(options_->timeout).count();
    options->join_timeout_s = std::max(1.0, std::min(seconds, 300.0));
    options->wait_timeout_s = std::max(1.0, std::min(seconds, 1e8));
    for (const auto& [key, value] : config_.options)
      if (status.ok()) status = options->set(key, value);
    if (replay != nullptr) {
      options->state = replay->state;
      options->blobs = replay->blobs;
      options->apply = replay->apply;
    }
  }
  Result<std::unique_ptr<Group>> group =
      status.ok() ? Group::join(*options) : Result<std::unique_ptr<Group>>(status.error());
  if (!group) {
    const std::string text = "regroup: rank " + std::to_string(rank_) + " of " + std::to_string(size_) +
                             " could not join group '" + name + "' at " + config_.coordinator + ": " +
                             group.error().detail + " (" + code_name(group.code()) + ")";
    throw c10::DistBackendError({__func__, __FILE__, __LINE__}, text);
  }
  return std::move(*group);
}

// Messages have a group of their own. Both are there when this returns: a rank that dies later is missing in both.
void RegroupBackend::open(const Replay* replay) {
  std::exception_ptr failed;
  std::unique_ptr<Group> for_messages;
  std::thread other([&] {
    try {
      for_messages =
          join(config_.group == config_.root ? config_.root + "/messages" : config_.group + ".messages", nullptr);
    } catch (...) {
      failed = std::current_exception();
    }
  });
  std::unique_ptr<Group> own;
  try {
    own = join(config_.group, replay);
  } catch (...) {
    failed = std::current_exception();
  }
  other.join();
  if (failed) std::rethrow_exception(failed);
  stream_ = std::make_shared<Stream>(std::shared_ptr<Group>(std::move(own)));
  messages_ = std::make_shared<Messages>(std::move(for_messages));
}

void RegroupBackend::join_now(const Replay* replay) {
  TORCH_CHECK(config_.deferred && !stream_ && !closed_, "regroup: this process group has been joined already");
  open(replay);
}

RegroupBackend::~RegroupBackend() { abort(); }

void RegroupBackend::check_open() const {
  TORCH_CHECK(!closed_, "regroup: the process group '", config_.group, "' was shut down or aborted");
  TORCH_CHECK(stream_ != nullptr, "regroup: with pg_options={\"elastic\": True} the process group is joined where ",
              "Elastic.steps() begins; nothing can be sent before");
}

void RegroupBackend::abort() {
  if (closed_.exchange(true) || !stream_) return;
  stream_->close();
  messages_->close();
}

void RegroupBackend::shutdown() {
  if (closed_ || !stream_) return abort();
  // With explicit marks a leaver would wait for one; the others see its end at once all the same.
  if (explicit_marks()) return abort();
  const double seconds = std::min(5.0, std::chrono::duration<double>(options_->timeout).count());
  (void)messages_->group().leave(seconds);
  (void)stream_->group().leave(seconds);
  abort();
}

c10d::ErrorType RegroupBackend::getError() {
  switch (stream_ ? stream_->last_error() : Code::kOk) {
    case Code::kOk: return c10d::ErrorType::SUCCESS;
    case Code::kTimeout: return c10d::ErrorType::TIMEOUT;
    case Code::kViewChanged:
    case Code::kMismatch:
    case Code::kCancelled: return c10d::ErrorType::REMOTE_ERROR;
    default: return c10d::ErrorType::COMM_ERROR;
  }
}

std::vector<int> RegroupBackend::members() {
  check_open();
  std::vector<int> ranks;
  for (const MemberId m : stream_->group().view().members) ranks.push_back(static_cast<int>(m.replica));
  return ranks;
}
std::uint64_t RegroupBackend::epoch() {
  check_open();
  return stream_->group().view().epoch;
}

at::Tensor RegroupBackend::allocateTensor(long size, at::TensorOptions options) {
  check_open();
  TORCH_CHECK_VALUE(options.device().is_cpu(), "regroup: registered memory on ", options.device(), ", only host memory is supported");
  const std::size_t bytes = static_cast<std::size_t>(std::max(size, 1L)) * options.dtype().itemsize();
  Result<void*> memory = stream_->group().allocate(bytes);
  TORCH_CHECK(memory.ok(), "regroup: no registered memory: ", memory.error().detail);
  return at::from_blob(
      *memory, {size}, [stream = stream_](void* p) { (void)stream->group().deallocate(p); }, options);
}

c10::intrusive_ptr<c10d::Backend> RegroupBackend::split(const c10::intrusive_ptr<c10d::Store>&,
                                                        const std::vector<int>& ranks,
                                                        const c10::intrusive_ptr<Options>& opts) {
  check_open();
  const auto me = std::find(ranks.begin(), ranks.end(), rank_);
  if (me == ranks.end()) return nullptr;
  BackendConfig config = config_;
  TORCH_CHECK(opts && !opts->group_name.empty(), "regroup: split needs a group_name in its options");
  config.group = config_.root + "/" + opts->group_name;
  return c10::make_intrusive<RegroupBackend>(static_cast<int>(me - ranks.begin()), static_cast<int>(ranks.size()),
                                             bound(opts->timeout), std::move(config));
}

RegroupBackend::Work_ RegroupBackend::make(c10d::OpType type, const char* title, const Tensors& inputs, Tensors outputs,
                                           Millis timeout, bool async) {
  check_open();
  if (coalescing_) return coalescing_;
  auto work = c10::make_intrusive<RegroupWork>(rank_, type, at::hasCallbacks() ? title : nullptr, inputs,
                                               std::move(outputs), bound(timeout), ++sequence_);
  work->stream = stream_;
  work->wait_follows = !async;
  return work;
}

void RegroupBackend::add(const Work_& work, StreamOpPtr op) {
  op->deadline = Clock::now() + options_->timeout;
  op->whole = op->whole || config_.error_when_lost;
  op->how.wait_follows = work->wait_follows;
  work->ops.push_back(op);
  stream_->push(op);
}

void RegroupBackend::startCoalescing() {
  check_open();
  coalescing_ = nullptr;
  coalescing_ = make(c10d::OpType::COALESCED, "regroup:coalesced", {}, {}, Millis(0), true);
}
WorkPtr RegroupBackend::endCoalescing() { return std::exchange(coalescing_, nullptr); }

void RegroupBackend::check_rank(int rank, const char* what) const {
  TORCH_CHECK_VALUE(rank >= 0 && rank < size_, "regroup: ", what, ": rank ", rank, " is not in 0..", size_ - 1);
}

WorkPtr RegroupBackend::barrier(const c10d::BarrierOptions& opts) {
  const Work_ work = make(c10d::OpType::BARRIER, "regroup:barrier", {}, {}, opts.timeout, opts.asyncOp);
  auto o = std::make_shared<StreamOp>();
  o->submit = [](Group& g, const ViewInfo&, const OpOptions& how) { return g.barrier_async(how); };
  add(work, std::move(o));
  return work;
}

void RegroupBackend::mark() {
  const Work_ work = make(c10d::OpType::BARRIER, "regroup:mark", {}, {}, Millis(0), false);
  auto o = std::make_shared<StreamOp>();
  o->how.mark = true;
  o->submit = [](Group& g, const ViewInfo&, const OpOptions& how) { return g.barrier_async(how); };
  add(work, std::move(o));
  work->wait();
}

}  // namespace regroup::python
