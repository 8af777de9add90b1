// CoordinatorServer: the coordinator as an event loop: sockets, ticks and the view log around the pure Coordinator.
//
// Ownership: listener, connections, log. Threading: open and run on one thread; stop from any thread or a signal
// handler. After a failure: a bad connection is closed and counted, nobody else notices; a failed log write ends run()
// with an error. Bounded: connections, bytes per connection, time until a connection has said who it is. Upholds G6: a
// decision is sent only when the log has it on disk. The log is written beside the loop: while a disk stalls, members
// are still answered, and nothing is decided.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup {

struct CoordinatorOptions {
  std::string listen = "127.0.0.1:0";  // host:port; port 0: any
  std::string group = "default";
  std::string secret;  // empty: none
  std::string log_file;
  enum class Log : std::uint8_t {
    kOpen,    // it must be there
    kCreate,  // it must not be there
    kAdopt,   // autostart: go on with it while a member of its last view lives on this host, else begin a new one
  } log = Log::kOpen;
  Duration suspicion = Duration::from_ms(1000);
  Duration lost_grace = Duration::from_ms(50);
  Duration wedge_deadline = Duration::from_ms(1000);
  Duration level_deadline = Duration::from_ms(30000);
  Duration tick = Duration::from_ms(20);
  Duration hello_deadline = Duration::from_ms(5000);
  std::size_t max_connections = 4096;
  std::function<void()> before_log_write;  // tests: called on the thread that writes the log
  Duration idle_exit{0};           // end when no member was connected for this long; 0: never
  bool exit_when_left = false;     // end when the last view is empty (everybody has left) and nobody is connected
  bool exit_when_lost = false;     // end when all members of the view have died for certain: nobody can go on with this log
  bool remove_log_at_end = false;  // after either of these ends: nobody can continue that history
};

class CoordinatorServer {
 public:
  // kSystem: port in use, no permission, log not writable; kRefused: log locked, corrupt or of another group;
  // kConfig: bad host:port.
  static Result<std::unique_ptr<CoordinatorServer>> open(CoordinatorOptions options);
  ~CoordinatorServer();
  // Until stop() (ok), an end by itself (ok), or a failed log write (kSystem).
  [[nodiscard]] Status run();
  void stop();  // async-signal-safe
  [[nodiscard]] bool all_lost() const;  // after run()

  [[nodiscard]] const std::string& address() const;  // host:port as chosen
  [[nodiscard]] LogId log_id() const;
  struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t bad_messages = 0;  // malformed frames or messages, failed handshakes; each closed its connection
    std::uint64_t refused = 0;       // over max_connections, or silent past hello_deadline
  };
  [[nodiscard]] Counters counters() const;  // any thread

 private:
  class Impl;
  explicit CoordinatorServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace regroup
