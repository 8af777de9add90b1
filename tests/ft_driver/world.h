// A world for tests of the driver: a coordinator on a thread, members with a data side that only answers. Loopback,
// port 0, names of its own: two runs at once do not meet. Every wait has a bound.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"
#include "ft/driver/control.h"
#include "ft/driver/coordinator_server.h"
#include "tests/ft_driver/folder.h"

namespace regroup::test {

// Answers every order at once, as a data side with no work would.
class FakeData : public DataSide {
 public:
  void set_control(Control* control);
  void freeze(Epoch epoch) override;
  void install(const Decision& decision, std::size_t self) override;
  void cut(Epoch epoch) override;
  void fetch(const Fetch& what) override;
  void ended(Code code, const std::string& detail) override;
  void coordinator_link(bool up) override;
  void tick(Instant now) override;
  [[nodiscard]] Progress progress() const override;
  [[nodiscard]] std::string status_json() const override { return R"({"options":{"window":"8"}})"; }

  struct State {
    Decision decision;  // last installed
    std::vector<Decision> installs;
    std::optional<Code> ended;
    std::string detail;
    int freezes = 0, fetches = 0, ticks = 0;
    bool link = false;
    bool answers = true;  // false: says nothing to freeze
  };
  [[nodiscard]] State state() const;
  void set_answers(bool answers);
  void forget_end();
  bool wait(const std::function<bool(const State&)>& until, Duration bound = Duration::from_s(10)) const;

 private:
  template <class Change>
  void change(Change change) {
    {
      std::lock_guard lock(mutex_);
      change(state_);
    }
    changed_.notify_all();
  }
  void post(MemberInput input);
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_;
  Control* control_ = nullptr;
};

// One member as a thread of this process.
struct TestMember {
  std::uint32_t replica = 0;
  FakeData data;
  std::unique_ptr<Control> control;
  MemberConfig config;
  Status start(ControlOptions options, MemberConfig with);
  ~TestMember() { control.reset(); }
};

// The coordinator on a thread of its own.
class TestCoordinator {
 public:
  explicit TestCoordinator(CoordinatorOptions options);  // REQUIREs that it opens
  ~TestCoordinator() { stop(); }
  void stop();
  [[nodiscard]] CoordinatorServer& server() { return *server_; }
  [[nodiscard]] const Status& result() const { return result_; }  // after stop

 private:
  std::unique_ptr<CoordinatorServer> server_;
  Status result_;
  std::thread thread_;
};

class World {
 public:
  World();
  // Defaults of this world, to be changed by a test before it uses them.
  CoordinatorOptions coordinator_options;
  ControlOptions control_options;
  std::uint32_t world_size = 3;

  void start_coordinator();  // later times: opens the log again, at the same port
  void stop_coordinator() { coordinator.reset(); }
  TestMember& add(std::uint32_t replica);  // not parked
  void form();                             // world_size members, parked, in the first view
  [[nodiscard]] MemberConfig config(std::uint32_t replica) const;
  // All of these members have installed `epoch` with as many members.
  [[nodiscard]] bool wait_view(const std::vector<std::uint32_t>& replicas, Epoch epoch, std::size_t members,
                               Duration bound = Duration::from_s(10));
  [[nodiscard]] TestMember& operator[](std::size_t i) { return *members.at(i); }

  Folder folder;
  std::unique_ptr<TestCoordinator> coordinator;
  std::vector<std::unique_ptr<TestMember>> members;
};

// Polls where there is no condition variable to wait on.
bool eventually(const std::function<bool()>& condition, Duration bound = Duration::from_s(10));

}  // namespace regroup::test
