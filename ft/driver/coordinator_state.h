// Inside of CoordinatorServer: connections, and the groups that are served: the one that was asked for, and those that
// Group::split made of it ("job/..."), each with a log and a pure Coordinator of its own. One thread.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "ft/core/coordinator.h"
#include "ft/driver/channel.h"
#include "ft/driver/coordinator_server.h"
#include "ft/driver/poller.h"
#include "ft/driver/view_log.h"
#include "transport/wire/auth.h"

namespace regroup {

class CoordinatorGroup;

// One accepted connection. It becomes a member's with the first Hello.
struct CoordinatorConnection {
  CoordinatorConnection(Fd fd, std::uint64_t group_hash, wire::AuthServer server)
      : channel(std::move(fd), group_hash), auth(std::move(server)) {}
  Channel channel;
  wire::AuthServer auth;
  CoordinatorGroup* group = nullptr;  // of `who`
  Instant deadline;                   // to have said Hello, or to have gone away when closing
  std::optional<Incarnation> who;
  MemberId id;  // of `who`, for events
  Instant heard;
  std::string status;    // DataSide::status_json
  bool closing = false;  // what is queued is still sent; nothing is read
};

struct CoordinatorEvent {
  Instant at;
  std::string text;
};

// What a group needs of the sockets.
class CoordinatorOutlet {
 public:
  virtual ~CoordinatorOutlet() = default;
  virtual void send(CoordinatorConnection& c, ControlFrame type, std::span<const std::byte> payload) = 0;
  virtual void close_softly(CoordinatorConnection& c) = 0;
  virtual void wake() = 0;  // any thread: the loop looks at its groups soon
};

// One group: its log, its core, who is connected. coordinator_state.cc; status_json: coordinator_status.cc.
class CoordinatorGroup {
 public:
  using Connection = CoordinatorConnection;
  CoordinatorGroup(CoordinatorOutlet& outlet, CoordinatorOptions options, ViewLog log);
  [[nodiscard]] Status on_message(Connection& c, std::span<const std::byte> payload);
  [[nodiscard]] Status on_death(std::span<const std::byte> payload);
  void lost(Connection& c);  // the connection of a member is gone
  void tick();
  void on_wake();  // the log may have been written
  void event(std::string text);
  [[nodiscard]] const Status& failure() const { return failure_; }  // of the log: the coordinator must end
  [[nodiscard]] LogId log_id() const { return log_.id(); }
  [[nodiscard]] bool cut_torn_record() const { return log_.cut_torn_record(); }
  [[nodiscard]] std::size_t connected() const { return bound_.size(); }
  [[nodiscard]] Duration deserted() const;  // nobody was connected for so long
  [[nodiscard]] bool left() const;          // everybody has left: its history is at its end
  [[nodiscard]] bool all_dead() const;      // every member of the view, by a death word: nobody knows how its history ends
  [[nodiscard]] bool founded() const { return core_.last().has_value(); }
  // Of the server: its address, counters, the names of sub-groups.
  struct Surroundings {
    std::string address;
    std::uint64_t accepted, bad_messages, refused;
    std::vector<std::string> subgroups;
  };
  [[nodiscard]] std::string status_json(const Surroundings& server) const;

 private:
  void bind(Connection& c, const Hello& hello);
  void saw_death(const Incarnation& who);
  void feed(CoordinatorInput input);
  void run_actions(CoordinatorActions& actions);
  void deliver(const SendToMember& message);
  void write(const Decision& decision);
  [[nodiscard]] std::string name_of(const Incarnation& inc) const;

  CoordinatorOutlet& outlet_;
  CoordinatorOptions options_;
  ViewLog log_;  // of the writing thread while there is one
  Coordinator core_;
  std::map<Incarnation, Connection*> bound_;  // whose messages go where
  std::set<Incarnation> dead_;                // members whose death was seen, not only suspected
  std::deque<CoordinatorEvent> events_;
  Instant started_, last_member_;
  Status failure_;
  // One decision at a time is on its way to the disk (the core is in kLogging). Last: its end is awaited first.
  struct Writing {
    Decision decision;
    Instant since;
    Status status;  // once it is done
    std::atomic<bool> done{false};
    std::jthread thread;
  };
  std::unique_ptr<Writing> writing_;
};

class CoordinatorServer::Impl final : public CoordinatorOutlet {
 public:
  Impl(CoordinatorOptions options, ViewLog log, Fd listener, Fd wake);
  ~Impl() override;
  [[nodiscard]] Status run();
  void stop();

  std::string address;
  std::atomic<std::uint64_t> accepted{0}, bad_messages{0}, refused{0};
  [[nodiscard]] LogId log_id() const { return root_.log_id(); }
  [[nodiscard]] bool all_lost() const { return options_.exit_when_lost && root_.all_dead(); }

 private:
  using Connection = CoordinatorConnection;
  // sockets: coordinator_server.cc
  void accept_all();
  void on_socket(int fd, std::uint32_t events);
  [[nodiscard]] Status on_frame(Connection& c, ControlFrame type, std::span<const std::byte> payload);
  [[nodiscard]] Status on_auth(Connection& c, std::span<const std::byte> payload);
  void send(Connection& c, ControlFrame type, std::span<const std::byte> payload) override;
  void close_softly(Connection& c) override;
  void wake() override;
  void on_wake();
  void close(int fd, const Status& why);
  void enforce_deadlines();
  [[nodiscard]] bool over();
  [[nodiscard]] Status failure() const;
  // coordinator_groups.cc
  [[nodiscard]] Status on_message(Connection& c, std::span<const std::byte> payload);
  [[nodiscard]] Result<CoordinatorGroup*> group_of(Connection& c, std::span<const std::byte> payload);
  [[nodiscard]] CoordinatorGroup* known_group(const std::string& name);
  [[nodiscard]] std::string subgroup_log(const std::string& name) const;
  [[nodiscard]] std::string status_json(Connection& c);
  void tick_groups();

  CoordinatorOptions options_;
  Poller poller_;
  Fd listener_, wake_;
  std::uint64_t group_hash_;
  CoordinatorGroup root_;
  std::map<std::string, std::unique_ptr<CoordinatorGroup>> subgroups_;  // by name
  std::map<int, std::unique_ptr<Connection>> connections_;
  Instant next_tick_;
  std::atomic<bool> stop_{false};
};

// Removes the logs of all sub-groups of the group whose log is `log_file`: nobody can continue their history.
void remove_subgroup_logs(const std::string& log_file);

}  // namespace regroup
