// Control: the control thread of one member. It connects the pure core (Member) with sockets, timers and signs of
// death.
//
// Ownership: owns its thread, the connection to the coordinator, the death page; borrows DataSide, which must outlive
// stop(). Threading: start, restart from one thread at a time; post, check_peers, trouble, stop from any; every call of
// DataSide is made on the control thread. No singletons: several members may live in one process.
// After a failure: a lost coordinator is reconnected to for ever (bounded backoff) while the data side goes on; a
// malformed message closes the link and is counted. The thread never faults in large memory, so it beats whatever
// happens. Upholds G5 (prompt detection), G6 and G7 (through the core; nothing is decided here).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "ft/core/member.h"

namespace regroup {

// What the core orders for data; implemented by runtime. Called on the control thread; must return promptly (never
// blocks, never faults in large memory). May call Control::post.
class DataSide {
 public:
  struct Progress {
    Epoch epoch = 0;
    OpId committed = 0;
  };
  virtual ~DataSide() = default;
  virtual void freeze(Epoch epoch) = 0;                                  // answer later with post(Frozen{...})
  virtual void install(const Decision& decision, std::size_t self) = 0;  // settle, fail, redo; enter the new epoch
  virtual void cut(Epoch epoch) = 0;                                     // answer with post(CutReached{...})
  virtual void fetch(const Fetch& what) = 0;                             // answer with post(LevelReached{...})
  virtual void follow(const Welcome&) {}                                 // observer: the view as it stands
  virtual void ended(Code code, const std::string& detail) = 0;          // this incarnation is over; only tick follows
  virtual void coordinator_link(bool up) = 0;                            // after every change; down at the beginning
  virtual void tick(Instant now) = 0;                                    // about every 20 ms
  [[nodiscard]] virtual Progress progress() const = 0;                   // for heartbeats; atomics only
  [[nodiscard]] virtual std::string status_json() const = 0;  // once a second, for `regroup status`; <= 16 KiB
};

// Starts the coordinator as a process of its own where nobody else does (coordinator_process.h makes one of these).
struct Autostart {
  bool enabled = false;
  std::string log_file;                       // the same for all members of the group
  std::string program;                        // the `regroup` binary
  Duration idle_exit = Duration::from_s(60);  // it ends by itself when nobody was connected for this long
};

struct ControlOptions {
  std::string group;
  std::string coordinator;  // host:port, [v6]:port
  std::string secret;       // empty: none
  Duration heartbeat = Duration::from_ms(100);
  Duration tick = Duration::from_ms(20);  // death words are read this often, and at check_peers()
  Duration reconnect_min = Duration::from_ms(50);
  Duration reconnect_max = Duration::from_ms(200);
  Duration coordinator_silence = Duration::from_ms(3000);  // no answer to heartbeats for this long: reconnect
  Autostart autostart;
  bool launched = true;  // false: the launcher's death words are of another group (a sub-group's members have other ids)
};

class Control {
 public:
  // Resolves the coordinator's name, makes the death page and starts the thread; does not wait for the coordinator
  // (with autostart, replica 0 starts it first and reports why it could not). The address in config.self is completed:
  // MemberAddress::death_socket and pid are set when its host is not 0. kConfig: bad host:port; kSystem: no
  // descriptors.
  static Result<std::unique_ptr<Control>> start(ControlOptions options, MemberConfig config, DataSide& data);
  ~Control();  // stop(true) unless stopped
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // Any thread. Wakes the loop. False: stopped, or the queue is full (it holds 4096; the protocol needs far fewer).
  bool post(MemberInput input);
  // Any thread: looks at the host's death words now, on the control thread. Cheap; at most once per 200 us.
  void check_peers();
  // After ended(): begins again as a new incarnation (new Member, new death page). Posts made before it are dropped.
  void restart(MemberConfig fresh);
  // Joins the thread. Plain: flushes what was to be sent and ends the death page. Abrupt ("kill by detach"): says
  // nothing to anybody; peers of the host find the death word marked, as if the process had died.
  void stop(bool abrupt);

  // Why there is no coordinator at the moment, for the detail of kUnavailable; empty: connected.
  [[nodiscard]] std::string trouble() const;
  struct Counters {
    std::uint64_t connects = 0;      // connections that stood (authenticated)
    std::uint64_t bad_messages = 0;  // malformed frames or messages; each closed its link
    std::uint64_t deaths_seen = 0;   // by death word or pidfd
    std::uint64_t coordinators_started = 0;
  };
  [[nodiscard]] Counters counters() const;
  // Tests: the thread does nothing while paused (no heartbeat, no answer), like one that is stopped.
  void pause_for_test(bool paused);

 private:
  class Loop;
  explicit Control(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace regroup
