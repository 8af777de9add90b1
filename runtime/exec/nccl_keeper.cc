#include "runtime/exec/nccl_keeper.h"

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "base/log.h"

namespace regroup {
namespace {

constexpr std::size_t kMostAside = 4;
constexpr Duration kFirstRetry = Duration::from_ms(20);
constexpr int kMostDoublings = 9;                  // 10 s
constexpr Duration kLook = Duration::from_ms(20);  // after the dead, whose memory waits
constexpr Duration kFirstAsk = Duration::from_ms(500);  // then later each time: letters are kept for an epoch

// What may still be written into, for as long as this process lives.
void leave_behind(std::deque<std::unique_ptr<NcclKeeper::Made>> made) {
  static std::mutex mutex;
  static auto* all = new std::deque<std::unique_ptr<NcclKeeper::Made>>;  // never destroyed
  std::lock_guard lock(mutex);
  for (auto& one : made) all->push_back(std::move(one));
}

std::string text(const NcclKey& key) { return std::to_string(key.epoch) + "." + std::to_string(key.attempt); }

}  // namespace

NcclKeeper::NcclKeeper(Config config)
    : config_(std::move(config)), rooms_(std::make_shared<NcclRooms>(config_.device)) {}

NcclKeeper::~NcclKeeper() {
  put_aside(std::move(now_));
  put_aside(std::move(last_));
  const Instant until = now() + config_.limit;
  for (auto& made : aside_) (void)made->comm->wait_ended(until);
  free_what_can_be();
  if (!aside_.empty()) leave_behind(std::move(aside_));
  (void)rooms_->end(until);
}

void NcclKeeper::enter(const View& view, std::size_t self) {
  leave(view_.epoch);
  if (!view_.members.empty() && view_.members[self_].inc != view.members[self].inc) {
    was_.push_back(view_.members[self_].inc);
    if (was_.size() > NcclEnded::kMost) was_.pop_front();
  }
  asked_ = 0;
  ask_at_ = now() + kFirstAsk;
  view_ = view;
  self_ = self;
  entered_ = true;
  attempt_ = ready_ = 0;
  reported_ = settled_ = true;
  letters_.clear();
  id_call_.reset();
  if (retry_at_.is_never()) retry_at_ = Instant{};
  if (last_ && !can_shrink()) put_aside(std::move(last_));
}

void NcclKeeper::leave(Epoch epoch) {
  if (!entered_ || epoch != view_.epoch) return;
  entered_ = false;
  ready_ = 0;
  if (!now_) return;
  if (!now_->used && now_->comm->state() != nccl::Communicator::State::kUp) return put_aside(std::move(now_));
  put_aside(std::move(last_));
  now_->comm->revoke();
  last_ = std::move(now_);
}

// --- what became of what ---

void NcclKeeper::put_aside(std::unique_ptr<Made> made) {
  if (!made) return;
  made->comm->abort();
  aside_.push_back(std::move(made));
}

// Who is in the view has begun to abort what came before when it says that it is ready; who is not may still write.
bool NcclKeeper::harmless(const MemberInfo& m) const {
  return view_.contains(m.inc) || ended_.contains(m.inc) || std::find(was_.begin(), was_.end(), m.inc) != was_.end() ||
         (config_.known_dead && config_.known_dead(m));
}

void NcclKeeper::free_what_can_be() {
  std::erase_if(aside_, [&](const std::unique_ptr<Made>& made) {
    if (!made->comm->ended()) return false;
    const auto ended = [&](const MemberInfo& m) { return !made->used || harmless(m); };
    if (!std::all_of(made->members.begin(), made->members.end(), ended)) return false;
    ++counters_.freed;
    return true;
  });
  if (aside_.empty()) ended_.clear();
}

void NcclKeeper::ask_for_the_rest() {
  std::set<Incarnation> unknown;
  for (const auto& made : aside_)
    for (const MemberInfo& m : made->members) {
      if (!made->used || harmless(m) || m.address.size() > NcclAsk::kMostAddress || !unknown.insert(m.inc).second) continue;
      for (std::size_t i = 0; i < view_.members.size(); ++i)
        if (i != self_) letters_.push_back({i, encode(NcclAsk{m.inc, m.address})});
    }
}

bool NcclKeeper::lost() const {
  return std::any_of(aside_.begin(), aside_.end(), [](const auto& made) { return made->comm->stuck(); });
}

std::vector<int> NcclKeeper::missing_from(const Made& made) const {
  std::vector<int> ranks;
  for (std::size_t i = 0; i < made.members.size(); ++i)
    if (!view_.contains(made.members[i].inc)) ranks.push_back(static_cast<int>(i));
  return ranks;
}

bool NcclKeeper::can_shrink() const {
  if (!last_) return false;
  const std::size_t gone = missing_from(*last_).size();
  return gone != 0 && view_.members.size() > 1 && last_->members.size() - gone == view_.members.size();
}

void NcclKeeper::failed(const std::string& why) {
  log::warn("nccl_failed", "epoch=" + std::to_string(view_.epoch) + " why=\"" + why + "\"");
  ++counters_.failed;
  ready_ = 0;
  if (leads() && !retry_at_.is_never())
    retry_at_ = now() + kFirstRetry * (std::int64_t{1} << std::min(failures_++, kMostDoublings));
}

void NcclKeeper::stop(const std::string& why) {
  if (!stopped_.empty()) return;
  stopped_ = why;
  failed(why + "; NCCL is not used again");
}

bool NcclKeeper::busy() const {
  if (!entered_ || view_.members.size() < 2 || !stopped_.empty()) return false;
  return id_call_ || !reported_ || (leads() && (!settled_ || (ready_ == 0 && now() >= retry_at_)));
}

void NcclKeeper::step() {
  if (const Instant at = now(); !aside_.empty() && at >= look_at_) {
    look_at_ = at + kLook;
    free_what_can_be();
  }
  if (!entered_ || view_.members.size() < 2) return;
  if (!aside_.empty() && now() >= ask_at_) {
    ask_for_the_rest();
    ask_at_ = now() + kFirstAsk * (std::int64_t{1} << std::min(asked_++, kMostDoublings * 2));
  }
  using State = nccl::Communicator::State;
  if (now_ && !reported_) {
    const State state = now_->comm->state();
    const bool ending =
        std::any_of(aside_.begin(), aside_.end(), [](const auto& m) { return m->used && !m->comm->ended(); });
    if (state == State::kFailed)
      report(false, now_->comm->trouble());
    else if (now_->room->failed())
      report(false, now_->room->why());
    else if (state == State::kUp && now_->room->open() && !ending)
      report(true, "");
  }
  if (leads()) lead();
}

// --- attempts ---

void NcclKeeper::lead() {
  if (!settled_) {
    const bool late = now() >= answered_by_;
    const bool bad = std::any_of(reports_.begin(), reports_.end(),
                                 [&](Report r) { return r == Report::kFailed || (late && r == Report::kNone); });
    const bool good = std::all_of(reports_.begin(), reports_.end(), [](Report r) { return r == Report::kOk; });
    if (good) settled_ = true, failures_ = 0;
    if (!bad) return;
    settled_ = true;
    failed("attempt " + text({view_.epoch, attempt_}) + (late ? ": not all have answered" : ": a member failed"));
  }
  if (id_call_) {
    if (id_call_->load() && id_->answer == nccl::kSuccess) {
      NcclBegin b;
      b.id = id_->id;
      id_call_.reset();
      return propose(b);
    }
    if (id_call_->load() || now() >= id_by_) {
      failed("ncclGetUniqueId: " + (id_call_->load() ? nccl::answer_text(id_->answer) : std::string("no answer")));
      id_call_.reset();
    }
    return;
  }
  if (ready_ != 0 || !stopped_.empty() || now() < retry_at_) return;
  if (can_shrink() && attempt_ == 0) {
    NcclBegin b;
    b.shrink = true;
    b.parent = last_->key;
    return propose(b);
  }
  id_ = std::make_shared<nccl::MadeId>();
  id_by_ = now() + config_.limit;
  id_call_ = nccl::make_id(id_caller_, config_.library, id_);
}

void NcclKeeper::propose(const NcclBegin& what) {
  NcclBegin b = what;
  b.attempt = attempt_ + 1;
  reports_.assign(view_.members.size(), Report::kNone);
  settled_ = false;
  answered_by_ = now() + config_.limit * 2;
  for (std::size_t i = 0; i < view_.members.size(); ++i)
    if (i != self_) letters_.push_back({i, encode(b)});
  begin(b);
}

void NcclKeeper::begin(const NcclBegin& b) {
  attempt_ = b.attempt;
  ready_ = 0;
  reported_ = false;
  put_aside(std::move(now_));
  if (!stopped_.empty()) return report(false, stopped_);
  free_what_can_be();
  if (aside_.size() >= kMostAside)
    return report(false, std::to_string(aside_.size()) + " communicators wait for an end of their members");
  auto made = std::make_unique<Made>();
  made->room = rooms_->open();
  made->members = view_.members;
  made->key = {view_.epoch, attempt_};
  if (b.shrink) {
    if (!can_shrink() || !(last_->key == b.parent))
      return report(false, "it has no communicator " + text(b.parent) + " to be shrunk");
    made->shrunk = true;
    made->comm = nccl::Communicator::shrink(*last_->comm, missing_from(*last_), config_.limit);
  } else {
    put_aside(std::move(last_));
    made->comm = nccl::Communicator::init(config_.library, b.id, static_cast<int>(self_),
                                          static_cast<int>(view_.members.size()), config_.limit,
                                          [device = config_.device] { return device->enter(); });
  }
  now_ = std::move(made);
}

void NcclKeeper::report(bool ok, const std::string& why) {
  const bool shrunk = last_ != nullptr;
  if (ok && shrunk) {  // its end comes before the first use of the new one
    put_aside(std::move(last_));
    return;
  }
  reported_ = true;
  if (ok) {
    ready_ = attempt_;
    if (!was_.empty())  // all that I had has ended, or this were no report of success
      for (std::size_t i = 0; i < view_.members.size(); ++i)
        if (i != self_) letters_.push_back({i, encode(NcclEnded{{was_.begin(), was_.end()}})});
    ++(now_->shrunk ? counters_.shrunk : counters_.rebuilt);
    log::info("nccl_ready", "communicator=" + text(now_->key) + " members=" + std::to_string(view_.members.size()) +
                                (now_->shrunk ? " by=shrink" : " by=rebuild"));
  } else {
    log::warn("nccl_attempt", "communicator=" + text({view_.epoch, attempt_}) + " why=\"" + why + "\"");
    put_aside(std::move(now_));
  }
  if (leads())
    reports_[self_] = ok ? Report::kOk : Report::kFailed;
  else
    letters_.push_back({0, encode(NcclReport{attempt_, ok, !stopped_.empty(), why})});
}

void NcclKeeper::heard(std::size_t from, std::span<const std::byte> bytes) {
  const std::optional<NcclLetter> letter = decode_nccl_letter(bytes);
  if (!letter || !entered_) return;
  if (letter->ask) {
    MemberInfo m;
    m.inc = letter->ask->inc;
    m.address = letter->ask->address;
    if (config_.known_dead && config_.known_dead(m)) letters_.push_back({from, encode(NcclEnded{{m.inc}})});
  }
  if (letter->ended && !aside_.empty()) ended_.insert(letter->ended->all.begin(), letter->ended->all.end());
  if (letter->begin && from == 0 && !leads() && letter->begin->attempt > attempt_) begin(*letter->begin);
  if (letter->report && leads() && letter->report->attempt == attempt_ && from < reports_.size()) {
    reports_[from] = letter->report->ok ? Report::kOk : Report::kFailed;
    if (letter->report->never) retry_at_ = Instant::never();  // in this epoch
    if (!letter->report->ok)
      log::warn("nccl_attempt", "member=" + to_string(view_.members[from].id) + " why=\"" + letter->report->why + "\"");
  }
}

}  // namespace regroup
