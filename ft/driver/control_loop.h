// Inside of Control: what runs on the control thread. Everything here belongs to that thread but what says otherwise.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "base/fd.h"
#include "ft/driver/control.h"
#include "ft/driver/coordinator_link.h"
#include "ft/driver/coordinator_process.h"
#include "ft/driver/death_page.h"
#include "ft/driver/death_watch.h"
#include "ft/driver/poller.h"

namespace regroup {

class Control::Loop {
 public:
  Loop(ControlOptions options, MemberConfig config, DataSide& data, std::vector<net::Address> addresses);
  ~Loop();
  // Caller's thread; returns when the thread runs and the death page stands.
  [[nodiscard]] Status start();

  // Any thread.
  using Input = std::variant<MemberInput, MemberConfig>;  // MemberConfig: restart
  bool post(Input input);
  void check_peers();
  void stop(bool abrupt);
  void pause(bool paused) { paused_.store(paused, std::memory_order_release), wake(); }
  [[nodiscard]] std::string trouble() const;
  [[nodiscard]] Counters counters() const;

 private:
  enum class Stop : std::uint8_t { kNo, kPlain, kAbrupt };
  void run();
  [[nodiscard]] Status begin(MemberConfig config);  // a new incarnation
  void end_incarnation();
  void wake();
  void on_wake();
  void drain();
  void feed(const MemberInput& input);
  void run_action(const MemberAction& action);
  void watch_view(const Decision& decision);
  void on_tick(Instant now);
  void keep_coordinator(Instant now);
  [[nodiscard]] bool responsible() const;

  ControlOptions options_;
  DataSide& data_;
  Poller poller_;
  Fd wake_, timer_;
  CoordinatorLink link_;
  std::optional<CoordinatorProcess> process_;
  std::unique_ptr<Member> member_;
  // The page must outlive the thread that locks it: it goes when the loop goes, after the join.
  std::optional<DeathPage> page_;
  std::optional<DeathTable> table_;
  DeathSlot* table_slot_ = nullptr;
  bool alive_ = false;  // this incarnation holds its words
  DeathServer server_;
  std::optional<DeathWatch> watch_;
  std::deque<MemberInput> pending_;  // made on this thread (deaths), fed when nobody is inside the core
  Instant next_beat_{0}, next_status_{0}, next_start_{0};
  std::string foreign_;  // the last coordinator that was not ours, logged once
  std::optional<Status> begun_;

  mutable std::mutex mutex_;
  std::deque<Input> queue_;  // below mutex_, and so are trouble_ and begun_
  std::string trouble_;
  std::condition_variable started_;
  std::atomic<Stop> stop_{Stop::kNo};
  std::atomic<bool> paused_{false};
  std::atomic<bool> check_wanted_{false};
  std::atomic<std::int64_t> next_check_ns_{0};
  std::atomic<std::uint64_t> connects_{0}, bad_messages_{0}, deaths_{0}, starts_{0};
  std::mutex stop_mutex_;  // who stops joins; who stops too waits for that
  std::thread thread_;
};

}  // namespace regroup
