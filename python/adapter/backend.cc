// Life of a backend and of its works. Collectives are in reduce.cc, gather.cc and exchange.cc.
#include "python/adapter/backend.h"

#include <torch/csrc/distributed/c10d/exception.h>

namespace regroup::python {

using Clock = std::chrono::steady_clock;
void (*check_interrupt)() = [] {};

namespace {

constexpr auto kSlice = Millis(100);
constexpr std::int64_t kBarrierTag = INT64_MIN / 2;

std::exception_ptr error_of(const Status& status, c10d::OpType type) {
  const std::string text =
      "regroup " + c10d::opTypeToString(type) + ": " + status.error().detail + " (" + code_name(status.code()) + ")";
  const c10::SourceLocation here{__func__, __FILE__, __LINE__};
  if (status.code() == Code::kInvalid) return std::make_exception_ptr(c10::ValueError(here, text));
  return std::make_exception_ptr(c10::DistBackendError(here, text));
}

}  // namespace

RegroupWork::RegroupWork(int rank, c10d::OpType type, const char* title, const Tensors& inputs, Tensors outputs,
                         Millis timeout, std::uint64_t sequence)
    : Work(rank, type, title, title ? std::optional<std::vector<at::Tensor>>(inputs) : std::nullopt),
      outputs_(std::move(outputs)),
      deadline_(Clock::now() + timeout),
      sequence_(sequence) {}

RegroupWork::~RegroupWork() {
  // A receiver that nobody holds takes no message; ops go on by themselves and keep their tensors.
  for (const MessagePtr& m : parts)
    if (!m->send && !m->done && messages) messages->give_up(m);
}

bool RegroupWork::run(Time until) {
  bool all = true;
  for (const StreamOpPtr& op : ops) all = (until == Time{} ? stream->poll(op) : stream->wait(op, until)) && all;
  for (const MessagePtr& m : parts) all = messages->wait(m, until) && all;
  return all;
}

void RegroupWork::settle() {
  if (settled_.exchange(true)) return;
  std::exception_ptr error;
  for (const StreamOpPtr& op : ops)
    if (!error && !op->status.ok()) error = error_of(op->status, opType_);
  for (const MessagePtr& m : parts)
    if (!error && !m->status.ok()) error = error_of(m->status, opType_);
  finish(error);
  complete_future();
}

bool RegroupWork::isCompleted() {
  if (!settled_ && run({})) settle();
  return Work::isCompleted();
}

bool RegroupWork::isSuccess() const { return Work::isSuccess(); }

bool RegroupWork::wait(Millis timeout) {
  const Time until = timeout == kNoTimeout ? deadline_ : Clock::now() + timeout;
  while (!Work::isCompleted()) {
    const Time now = Clock::now();
    if (run(std::min(until, now + kSlice))) {
      settle();
      continue;
    }
    check_interrupt();
    if (Clock::now() < until) continue;
    for (const StreamOpPtr& op : ops) stream->expire(op);
    for (const MessagePtr& m : parts)
      if (!m->done) {
        messages->give_up(m);
        m->status = {Code::kTimeout, "nothing came from, or was taken by, the other rank"};
      }
    for (const StreamOpPtr& op : ops)
      if (op->status.code() == Code::kCancelled || op->status.code() == Code::kTimeout)
        op->status = {Code::kTimeout, "Timed out waiting for the other ranks"};
    settle();
  }
  std::exception_ptr error = exception();
  if (error) std::rethrow_exception(error);
  return true;
}

void RegroupWork::abort() {
  for (const StreamOpPtr& op : ops) stream->expire(op);
}

int RegroupWork::sourceRank() const {
  TORCH_CHECK(parts.size() == 1 && !parts[0]->send, "sourceRank() is for works of recv");
  return parts[0]->source;
}

c10::intrusive_ptr<c10::ivalue::Future> RegroupWork::getFuture() {
  {
    std::lock_guard lock(future_mutex_);
    if (future_) return future_;
    future_ = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  }
  if (isCompleted()) {
    complete_future();
  } else if (!ops.empty() && parts.empty()) {
    auto self = c10::intrusive_ptr<RegroupWork>::unsafe_reclaim_from_nonowning(this);
    stream->watch(ops.back(), [self] {
      for (const StreamOpPtr& op : self->ops)
        if (!self->stream->wait(op, op->deadline)) self->stream->expire(op);
      self->settle();
    });
  } else {
    auto self = c10::intrusive_ptr<RegroupWork>::unsafe_reclaim_from_nonowning(this);
    std::thread([self] {
      try {
        self->wait(kNoTimeout);
      } catch (...) {  // the future has it
      }
    }).detach();
  }
  return future_;
}

void RegroupWork::complete_future() {
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    std::lock_guard lock(future_mutex_);
    future = future_;
  }
  if (!future || future->completed() || !Work::isCompleted()) return;
  if (std::exception_ptr error = exception()) {
    future->setErrorIfNeeded(error);
  } else {
    future->markCompleted(c10::IValue(outputs_));
  }
}

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

WorkPtr RegroupBackend::message(Tensors& tensors, int rank, int tag, bool send) {
  check_open();
  const at::Tensor& tensor = one(tensors, send ? "send" : "recv");
  TORCH_CHECK_VALUE(tensor.is_contiguous(), "regroup: ", send ? "send" : "recv", ": the tensor must be contiguous");
  if (rank != kAnyRank) check_rank(rank, send ? "send" : "recv");
  TORCH_CHECK_VALUE(rank != rank_, "regroup: a message to oneself");
  auto m = std::make_shared<Message>();
  m->send = send;
  m->peer = rank;
  m->tag = tag;
  m->data = tensor.data_ptr();
  m->bytes = tensor.nbytes();
  m->hold = std::make_shared<at::Tensor>(tensor);
  Messages& all = *messages_;
  const auto type = send ? c10d::OpType::SEND : rank == kAnyRank ? c10d::OpType::RECVANYSOURCE : c10d::OpType::RECV;
  auto work = coalescing_ ? coalescing_
                          : make(type,
                                 send               ? "regroup:send"
                                 : rank == kAnyRank ? "regroup:recvAnySource"
                                                    : "regroup:recv",
                                 tensors, tensors, Millis(0), true);
  work->messages = messages_;
  work->parts.push_back(m);
  all.post(m);
  return work;
}
WorkPtr RegroupBackend::send(Tensors& tensors, int rank, int tag) { return message(tensors, rank, tag, true); }
WorkPtr RegroupBackend::recv(Tensors& tensors, int rank, int tag) { return message(tensors, rank, tag, false); }
WorkPtr RegroupBackend::recvAnysource(Tensors& tensors, int tag) { return message(tensors, kAnyRank, tag, false); }

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

// Rank 0 hears of everybody, then answers: so it can name who has not come.
void RegroupBackend::monitoredBarrier(const c10d::BarrierOptions& opts, bool wait_all_ranks) {
  check_open();
  const Time until = Clock::now() + bound(opts.timeout);
  Messages& all = *messages_;
  const std::int64_t tag = kBarrierTag + static_cast<std::int64_t>(barriers_++);
  const auto post = [&](bool send, int peer) {
    auto m = std::make_shared<Message>();
    m->send = send;
    m->peer = peer;
    m->tag = tag;
    all.post(m);
    return m;
  };
  const auto came = [&](const MessagePtr& m) {
    const bool in_time = all.wait(m, std::max(until, Clock::now() + Millis(1)));
    if (!in_time) all.give_up(m);
    return in_time && m->status.ok();
  };
  if (rank_ != 0) {
    const MessagePtr here = post(true, 0);
    const MessagePtr answer = post(false, 0);
    TORCH_CHECK(came(here) && came(answer), "Rank ", rank_,
                " successfully reached monitoredBarrier, but received errors while waiting for send/recv from rank 0. "
                "Please check rank 0 logs for faulty rank.");
    return;
  }
  std::vector<MessagePtr> waits;
  std::string missing;
  for (int peer = 1; peer < size_; ++peer) waits.push_back(post(false, peer));
  for (int peer = 1; peer < size_; ++peer) {
    if (came(waits[static_cast<std::size_t>(peer - 1)])) continue;
    missing += (missing.empty() ? "" : ", ") + std::to_string(peer);
    if (!wait_all_ranks) break;
  }
  for (const MessagePtr& m : waits)
    if (!m->done) all.give_up(m);
  TORCH_CHECK(missing.empty(), "[Rank 0]: Rank", wait_all_ranks ? "s " : " ", missing,
              " failed to pass monitoredBarrier in ", bound(opts.timeout).count(), " ms");
  for (int peer = 1; peer < size_; ++peer) waits[static_cast<std::size_t>(peer - 1)] = post(true, peer);
  for (const MessagePtr& m : waits) TORCH_CHECK(came(m), "monitoredBarrier: a rank left before the answer reached it");
}

}  // namespace regroup::python
