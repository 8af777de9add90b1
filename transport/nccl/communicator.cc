#include "transport/nccl/communicator.h"

#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace regroup::nccl {
namespace {

constexpr auto kGlance = std::chrono::microseconds(50);  // between two questions to a non-blocking communicator
constexpr Duration kPatience = Duration::from_ms(100);   // for a call under way, before it is aborted over its head
constexpr int kNoWord = -1;

}  // namespace

struct Communicator::Shared {
  Shared(LibraryPtr l, Enter e) : library(std::move(l)), enter(std::move(e)) {}
  const LibraryPtr library;
  const Enter enter;
  std::mutex calls;  // held during every call with `comm` but those that end it
  Comm comm = nullptr;
  Comm arriving = nullptr;           // written by NCCL while it makes one
  std::atomic<bool> closing{false};  // no new call but revoke, shrink, abort
  std::atomic<bool> ending{false};   // none but abort
  std::atomic<int> made{kNoWord}, queued{kNoWord}, error{kSuccess}, revoked{kNoWord};
  std::atomic<bool> revoking{false}, ended{false};
  std::atomic<bool> left_over{false};  // the abort found it hanging while it was made: whoever made it ends it

  [[nodiscard]] bool entered() const { return !enter || enter().ok(); }
  // A call with the communicator's handle; kInvalidUsage: it is about to go.
  template <class F>
  int with(const std::atomic<bool>& gone, F call) {
    std::lock_guard lock(calls);
    return gone.load() ? kInvalidUsage : call(comm);
  }
  // What becomes of a call that answered `answer`, here or in the background.
  int settle(const std::atomic<bool>& gone, int answer) {
    while (answer == kInProgress) {
      std::this_thread::sleep_for(kGlance);
      answer = with(gone, [&](Comm c) {
        int said = kInProgress;
        const int asked = library->call.CommGetAsyncError(c, &said);
        return asked == kSuccess ? said : asked;
      });
    }
    return answer;
  }
  // False: a call still holds it after a while. (No timed mutex: TSan of g++ 12 does not know it.)
  bool lock_calls() {
    for (const Instant until = now() + kPatience; !calls.try_lock(); std::this_thread::sleep_for(kGlance))
      if (now() >= until) return false;
    return true;
  }
  void end_left_over() {
    std::lock_guard lock(calls);
    if (!left_over.load() || comm == nullptr) return;
    library->call.CommAbort(std::exchange(comm, nullptr));
    ended.store(true);
  }
};

Communicator::Communicator(LibraryPtr library, Duration limit, Enter enter)
    : shared_(std::make_shared<Shared>(std::move(library), std::move(enter))), limit_(limit), made_by_(now() + limit) {}

Communicator::~Communicator() { shared_->closing.store(true); }

std::unique_ptr<Communicator> Communicator::init(LibraryPtr library, const UniqueId& id, int rank, int ranks,
                                                 Duration limit, Enter enter) {
  std::unique_ptr<Communicator> c(new Communicator(std::move(library), limit, std::move(enter)));
  c->caller_.start([s = c->shared_, id, rank, ranks] {
    if (!s->entered()) return s->made.store(kUnhandledCudaError);
    Config config;
    const int answer = s->with(s->closing, [&](Comm) {
      const int said = s->library->call.CommInitRankConfig(&s->arriving, ranks, id, rank, &config);
      s->comm = s->arriving;
      return said;
    });
    s->end_left_over();
    s->made.store(s->settle(s->closing, answer));
  });
  return c;
}

std::unique_ptr<Communicator> Communicator::shrink(Communicator& parent, std::vector<int> without, Duration limit) {
  std::unique_ptr<Communicator> c(new Communicator(parent.shared_->library, limit, parent.shared_->enter));
  c->caller_.start([s = c->shared_, p = parent.shared_, without = std::move(without)]() mutable {
    if (!s->entered()) return s->made.store(kUnhandledCudaError);
    while (p->revoking.load() && p->revoked.load() == kNoWord && !s->closing.load())
      std::this_thread::sleep_for(kGlance);
    Config config;
    const int flags = p->revoked.load() == kSuccess ? kShrinkDefault : kShrinkAbort;
    if (!p->lock_calls()) return s->made.store(kInvalidUsage);  // a call hangs there
    int answer = kInvalidUsage;
    if (!p->ending.load() && !s->closing.load())
      answer = p->library->call.CommShrink(p->comm, without.data(), static_cast<int>(without.size()), &s->arriving,
                                           &config, flags);
    p->calls.unlock();
    const bool later = answer == kInProgress;
    if (later) answer = p->settle(p->ending, answer);  // only then the child's handle is there
    {
      std::lock_guard lock(s->calls);
      s->comm = s->arriving;
      if (s->ending.load()) s->left_over.store(true);
    }
    s->end_left_over();
    if (s->arriving == nullptr) return s->made.store(answer == kSuccess ? kInternalError : answer);
    s->made.store(s->settle(s->closing, later ? kInProgress : answer));
  });
  return c;
}

void Communicator::fail(const std::string& why) {
  if (trouble_.empty()) trouble_ = why;
}

Communicator::State Communicator::state() {
  const int made = shared_->made.load();
  if (made != kNoWord && made != kSuccess) fail("making the communicator: " + answer_text(made));
  if (made == kNoWord && now() >= made_by_) fail("the communicator was not made within its bound");
  if (const int error = shared_->error.load(); error != kSuccess) fail(answer_text(error));
  if (!trouble_.empty()) return State::kFailed;
  return made == kSuccess ? State::kUp : State::kMaking;
}

void Communicator::run(const Job& job, std::function<Status()> first, std::function<Status()> then) {
  shared_->queued.store(kNoWord);
  caller_.start([s = shared_, job, first = std::move(first), then = std::move(then)] {
    const Functions& call = s->library->call;
    if (!first().ok()) return s->queued.store(kUnhandledCudaError);
    int answer = s->with(s->closing, [&](Comm c) -> int {
      switch (job.what) {
        case Collective::kAllReduce: return call.AllReduce(job.in, job.out, job.count, job.type, job.op, c, job.stream);
        case Collective::kReduceScatter:
          return call.ReduceScatter(job.in, job.out, job.count, job.type, job.op, c, job.stream);
        case Collective::kAllGather: return call.AllGather(job.in, job.out, job.count, job.type, c, job.stream);
        case Collective::kBroadcast:
          return call.Broadcast(job.in, job.out, job.count, job.type, job.root, c, job.stream);
      }
      return kInvalidArgument;
    });
    answer = s->settle(s->closing, answer);
    if (answer == kSuccess && !then().ok()) answer = kUnhandledCudaError;
    s->queued.store(answer);
  });
}

Communicator::Step Communicator::queued() {
  const int answer = shared_->queued.load();
  if (answer == kNoWord) return Step::kPending;
  if (answer == kSuccess) return Step::kDone;
  fail("a collective: " + answer_text(answer));
  return Step::kFailed;
}

void Communicator::check() {
  if (checking()) return;
  check_ = caller_.start([s = shared_] {
    const int answer = s->with(s->closing, [&](Comm c) {
      int said = kSuccess;
      const int asked = s->library->call.CommGetAsyncError(c, &said);
      return asked == kSuccess ? said : asked;
    });
    if (answer != kInProgress && answer != kSuccess && !s->closing.load()) s->error.store(answer);
  });
}

bool Communicator::can_revoke() const { return shared_->library->call.CommRevoke != nullptr; }

void Communicator::revoke() {
  if (!can_revoke() || shared_->made.load() != kSuccess || revoker_ || aborting()) return;
  shared_->closing.store(true);
  shared_->revoking.store(true);
  revoker_ = std::make_unique<Caller>();
  revoker_->start([s = shared_] {
    if (!s->entered()) return s->revoked.store(kUnhandledCudaError);
    const bool locked = s->lock_calls();
    const int answer = s->ending.load() ? kInvalidUsage : s->library->call.CommRevoke(s->comm, kRevokeDefault);
    if (locked) s->calls.unlock();
    s->revoked.store(s->settle(s->ending, answer));
  });
}

void Communicator::abort() {
  if (aborting()) return;
  shared_->closing.store(true);
  shared_->ending.store(true);
  aborted_by_ = now() + limit_;
  aborter_ = std::make_unique<Caller>();
  abort_ = aborter_->start([s = shared_] {
    (void)s->entered();  // a device that is lost is no reason to leave it running
    const bool locked = s->lock_calls();
    if (!locked && s->comm == nullptr) return s->left_over.store(true);  // nothing that could be aborted yet
    if (s->comm != nullptr) s->library->call.CommAbort(s->comm);
    s->comm = nullptr;
    if (locked) s->calls.unlock();
    s->ended.store(true);
  });
}

bool Communicator::ended() const { return shared_->ended.load(); }

bool Communicator::stuck() const { return aborting() && !ended() && !abort_->load() && now() >= aborted_by_; }

bool Communicator::wait_ended(Instant deadline) {
  RG_CHECK(aborting());
  return aborter_->wait(abort_, deadline) && ended() && caller_.end(deadline);
}

Caller::Call make_id(Caller& caller, const LibraryPtr& library, const std::shared_ptr<MadeId>& made) {
  return caller.start([library, made] { made->answer = library->call.GetUniqueId(&made->id); });
}

}  // namespace regroup::nccl
