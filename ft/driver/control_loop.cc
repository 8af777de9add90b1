#include "ft/driver/control_loop.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "ft/driver/net.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

constexpr std::size_t kQueueBound = 4096;
constexpr Duration kCheckEvery = Duration::from_us(200);
constexpr Duration kStatusEvery = Duration::from_ms(1000);

}  // namespace

Control::Loop::Loop(ControlOptions options, MemberConfig config, DataSide& data, std::vector<net::Address> addresses)
    : options_(std::move(options)),
      data_(data),
      link_(poller_,
            LinkOptions{std::move(addresses), options_.coordinator, options_.group, options_.secret,
                        options_.reconnect_min, options_.reconnect_max, options_.coordinator_silence},
            {[this](bool up) {
               {
                 std::lock_guard lock(mutex_);
                 trouble_ = link_.trouble();  // whoever hears of the change can ask why
               }
               data_.coordinator_link(up);
               if (up) pending_.push_back(Connected{});
             },
             [this](ToMember m) { feed(FromCoordinator{std::move(m)}); },
             [this](Refuse refuse) { pending_.push_back(FromCoordinator{std::move(refuse)}); }}),
      server_(poller_) {
  queue_.push_back(std::move(config));  // the first incarnation begins like every later one
}

Control::Loop::~Loop() { stop(true); }

Status Control::Loop::start() {
  if (Status s = poller_.open(); !s) return s;
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!wake_ || !timer_) return net::system_error("cannot make the control thread's descriptors", errno);
  const timespec every{options_.tick.ns / 1'000'000'000, options_.tick.ns % 1'000'000'000};
  const itimerspec timer{every, every};
  if (::timerfd_settime(timer_.get(), 0, &timer, nullptr) != 0) return net::system_error("timerfd_settime", errno);
  if (Status s = poller_.add(wake_.get(), EPOLLIN, [this](std::uint32_t) { on_wake(); }); !s) return s;
  Status s = poller_.add(timer_.get(), EPOLLIN, [this](std::uint32_t) {
    std::uint64_t n = 0;
    if (::read(timer_.get(), &n, sizeof n) == sizeof n) on_tick(now());
  });
  if (!s) return s;
  if (options_.launched) {
    auto table = DeathTable::inherited();
    if (!table && table.code() != Code::kUnavailable) return table.error();
    if (table) table_.emplace(std::move(*table));
  }
  if (options_.autostart.enabled)
    process_.emplace(options_.coordinator, options_.group, options_.secret, options_.autostart);
  watch_.emplace(poller_, [this](const Incarnation& who) {
    deaths_.fetch_add(1, std::memory_order_relaxed);
    log::info("death_seen", "incarnation=" + to_string(who));
    pending_.push_back(PeerSuspected{who, SuspectKind::kDead});
  });
  thread_ = std::thread([this] { run(); });
  std::unique_lock lock(mutex_);
  started_.wait(lock, [this] { return begun_.has_value(); });
  return *begun_;
}

void Control::Loop::run() {
  std::optional<MemberConfig> first;
  {
    std::lock_guard lock(mutex_);
    first = std::get<MemberConfig>(std::move(queue_.front()));
    queue_.pop_front();
  }
  const Status begun = begin(std::move(*first));
  {
    std::lock_guard lock(mutex_);
    begun_ = begun;
  }
  started_.notify_all();
  if (begun.ok()) {
    on_tick(now());
    while (stop_.load(std::memory_order_acquire) == Stop::kNo) {
      poller_.wait(1000);
      while (paused_.load(std::memory_order_acquire) && stop_.load(std::memory_order_acquire) == Stop::kNo)
        ::usleep(1000);
      drain();
      watch_->quieten();
    }
  }
  if (stop_.load(std::memory_order_acquire) == Stop::kAbrupt) {  // the death word stays locked: dead
    link_.drop("this member was detached", Duration{});          // as the kernel does for a dead process
    return;
  }
  link_.flush(Duration::from_ms(200));
  end_incarnation();
}

// --- any thread ---

void Control::Loop::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

bool Control::Loop::post(Input input) {
  if (stop_.load(std::memory_order_acquire) != Stop::kNo) return false;
  {
    std::lock_guard lock(mutex_);
    if (std::holds_alternative<MemberConfig>(input)) queue_.clear();  // the last incarnation's words
    if (queue_.size() >= kQueueBound) return false;
    queue_.push_back(std::move(input));
  }
  wake();
  return true;
}

void Control::Loop::check_peers() {
  const std::int64_t at = now().ns;
  std::int64_t next = next_check_ns_.load(std::memory_order_relaxed);
  if (at < next || !next_check_ns_.compare_exchange_strong(next, at + kCheckEvery.ns, std::memory_order_relaxed))
    return;
  check_wanted_.store(true, std::memory_order_release);
  wake();
}

void Control::Loop::stop(bool abrupt) {
  Stop expected = Stop::kNo;
  stop_.compare_exchange_strong(expected, abrupt ? Stop::kAbrupt : Stop::kPlain);
  if (wake_) wake();
  std::lock_guard lock(stop_mutex_);
  if (thread_.joinable()) thread_.join();
  server_.close();  // as the kernel does for a dead process: who asks for the page now is refused
}

std::string Control::Loop::trouble() const {
  std::lock_guard lock(mutex_);
  return trouble_;
}

Control::Counters Control::Loop::counters() const {
  return {connects_.load(), bad_messages_.load(), deaths_.load(), starts_.load()};
}

// --- the control thread ---

Status Control::Loop::begin(MemberConfig config) {
  end_incarnation();
  const Incarnation inc = config.self.inc;
  auto page = DeathPage::create();
  if (!page) return page.error();
  page_.emplace(std::move(*page));
  if (Status s = server_.open(inc, page_->read_only_fd()); !s) return s;
  RG_CHECK(begin_life(page_->slot(), inc));  // a page of its own for every incarnation
  if (table_ && config.self.id.replica < table_->count()) {
    DeathSlot& slot = table_->slot(config.self.id.replica);
    if (begin_life(slot, inc)) table_slot_ = &slot;  // several members of one id in this process: the first has it
  }
  alive_ = true;
  if (auto address = wire::decode_address(config.self.address); address.ok() && address->host != 0) {
    address->death_socket = death_socket_name(inc);
    address->pid = static_cast<std::int32_t>(::getpid());
    config.self.address = wire::encode(*address);
  }
  member_ = std::make_unique<Member>(std::move(config));
  return {};
}

void Control::Loop::end_incarnation() {
  server_.close();
  if (watch_) watch_->watch({});
  pending_.clear();
  if (!alive_) return;
  alive_ = false;
  if (table_slot_ != nullptr) end_life(*table_slot_);
  table_slot_ = nullptr;
  end_life(page_->slot());
}

void Control::Loop::on_wake() {
  std::uint64_t n = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &n, sizeof n);
  if (check_wanted_.exchange(false, std::memory_order_acq_rel)) watch_->check();
}

// Feeds what was posted and what this thread itself found, until there is nothing left.
void Control::Loop::drain() {
  while (stop_.load(std::memory_order_acquire) == Stop::kNo) {
    if (!pending_.empty()) {
      const MemberInput input = std::move(pending_.front());
      pending_.pop_front();
      feed(input);
      continue;
    }
    std::optional<Input> input;
    {
      std::lock_guard lock(mutex_);
      trouble_ = link_.trouble();
      if (queue_.empty()) break;
      input = std::move(queue_.front());
      queue_.pop_front();
    }
    if (const auto* m = std::get_if<MemberInput>(&*input)) {
      feed(*m);
    } else {
      link_.drop("a new incarnation begins", {});
      if (Status s = begin(std::get<MemberConfig>(std::move(*input))); !s) {
        log::error("restart_failed", s.error().detail);
        data_.ended(s.code(), s.error().detail);
      }
    }
  }
  connects_.store(link_.connects(), std::memory_order_relaxed);
  bad_messages_.store(link_.bad_messages(), std::memory_order_relaxed);
}

void Control::Loop::feed(const MemberInput& input) {
  MemberActions actions;
  member_->on(input, actions);
  for (const MemberAction& action : actions) run_action(action);
}

void Control::Loop::run_action(const MemberAction& action) {
  if (const auto* send = std::get_if<SendToCoordinator>(&action)) {
    link_.send(send->message);
  } else if (const auto* freeze = std::get_if<FreezeData>(&action)) {
    data_.freeze(freeze->epoch);
  } else if (const auto* install = std::get_if<InstallData>(&action)) {
    watch_view(install->decision);
    data_.install(install->decision, install->self);
  } else if (const auto* cut = std::get_if<CutData>(&action)) {
    data_.cut(cut->epoch);
  } else if (const auto* fetch = std::get_if<FetchState>(&action)) {
    data_.fetch(fetch->what);
  } else if (const auto* follow = std::get_if<FollowView>(&action)) {
    data_.follow(follow->view);
  } else if (const auto* drop = std::get_if<DropCoordinator>(&action)) {
    const std::string why = "coordinator at " + options_.coordinator + ": " + drop->why;
    if (std::exchange(foreign_, why) != why) log::warn("coordinator_not_ours", why);
    // Not longer: when ours is back, it gives its members one suspicion time to return.
    link_.drop(why, options_.reconnect_max);
  } else if (const auto* ended = std::get_if<Ended>(&action)) {
    log::info("ended", std::string("code=") + code_name(ended->code) + " why=\"" + ended->detail + "\"");
    watch_->watch({});
    link_.flush(Duration::from_ms(20));
    link_.drop("this incarnation has ended: " + ended->detail, {});
    data_.ended(ended->code, ended->detail);
  }
}

void Control::Loop::watch_view(const Decision& d) {
  const MemberInfo& self = member_->config().self;
  log::info("view", "epoch=" + std::to_string(d.view.epoch) + " member=" + to_string(self.id) +
                        " members=" + std::to_string(d.view.members.size()) + " trim=" + std::to_string(d.trim) +
                        " reason=" + d.reason);
  std::vector<DeathWatch::Target> targets;
  const auto mine = wire::decode_address(self.address);
  for (const MemberInfo& m : d.view.members) {
    if (m.inc == self.inc || !mine.ok() || mine->host == 0) continue;
    if (auto address = wire::decode_address(m.address); address.ok() && address->host == mine->host)
      targets.push_back({m.inc, address->death_socket});
  }
  watch_->watch(targets);
}

void Control::Loop::on_tick(Instant now) {
  watch_->check();
  if (member_->phase() != Member::Phase::kEnded) {
    link_.tick(now);
    if (now >= next_beat_ && link_.up() && !link_.congested()) {
      const DataSide::Progress progress = data_.progress();
      link_.send(Heartbeat{progress.epoch, progress.committed});
      next_beat_ = now + options_.heartbeat;
    }
    if (now >= next_status_ && link_.up()) {
      link_.send_status(data_.status_json());
      next_status_ = now + kStatusEvery;
    }
    if (process_) keep_coordinator(now);
  }
  data_.tick(now);
}

// Who starts the coordinator anew: of the installed view the lowest member that lives; before any view replica 0.
bool Control::Loop::responsible() const {
  const MemberInfo& self = member_->config().self;
  if (member_->installed() == 0) return self.id == MemberId{};
  for (const MemberInfo& m : member_->decision().view.members) {
    if (m.inc == self.inc) return true;
    if (!watch_->known_dead(m.inc)) return false;
  }
  return false;
}

void Control::Loop::keep_coordinator(Instant now) {
  if (auto over = process_->poll()) {
    if (!*over)
      log::warn("coordinator_start_failed", over->error().detail);
    else if (**over == CoordinatorProcess::Started::kListens)
      starts_.fetch_add(1, std::memory_order_relaxed);
  }
  const bool gone = !link_.up() && link_.nobody_there() >= 2;
  if (!gone || process_->running() || now < next_start_ || !responsible()) return;
  next_start_ = now + Duration::from_ms(1000);
  log::info("coordinator_start", "at=" + options_.coordinator);
  if (Status s = process_->spawn(); !s) log::warn("coordinator_start_failed", s.error().detail);
}

}  // namespace regroup
