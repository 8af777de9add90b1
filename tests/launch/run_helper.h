// Runner: one `regroup run` as a child of the test, with its output, its events file and bounded waits. Its destructor
// ends what is left, by pid.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/time.h"

namespace launch_test {

using regroup::Duration;
using Json = nlohmann::json;

inline constexpr Duration kBound = Duration::from_s(20);  // of every wait; nothing here takes a tenth of it

// A folder of the test's own, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string path;
};

class Runner {
 public:
  // `regroup run` with these arguments; `--events` and TMPDIR are added.
  explicit Runner(std::vector<std::string> arguments);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Standard output and error together, as far as they have come.
  [[nodiscard]] const std::string& output() const { return output_; }
  // Waits until the output holds `text` (`times` times). False: not within the bound, or the run ended before.
  bool wait_for(const std::string& text, int times = 1);
  // Waits until an event of this name was written. False: not within the bound.
  bool wait_for_event(const std::string& name, int times = 1);
  void send(int signal) const;
  // Waits for the end; the exit status, 128 + signal; -1: not within the bound.
  int wait();

  [[nodiscard]] std::vector<Json> events() const;                         // all that were written
  [[nodiscard]] std::vector<Json> events(const std::string& name) const;  // of one name
  [[nodiscard]] std::vector<pid_t> pids() const;                          // of every life of every rank
  // What a launcher left in its TMPDIR.
  [[nodiscard]] bool left_files() const;
  [[nodiscard]] const std::string& folder() const { return folder_.path; }  // for files of the test

 private:
  bool pump(Duration patience);  // false: the output has ended
  TempDir folder_, tmp_;
  regroup::Fd from_;
  pid_t pid_ = -1;
  int status_ = -1;
  std::string output_;
};

// Runs to the end with a shell script as the program.
struct Ended {
  int status = -1;
  std::string output;
  std::vector<Json> events;
};
[[nodiscard]] Ended run_script(std::vector<std::string> options, const std::string& script);

[[nodiscard]] int count_of(const std::string& text, const std::string& part);
[[nodiscard]] inline bool has(const std::string& text, const std::string& part) { return count_of(text, part) > 0; }
[[nodiscard]] bool exists(pid_t pid);  // a zombie counts as gone
bool wait_gone(pid_t pid);             // bounded
[[nodiscard]] std::string bin(const std::string& program);

}  // namespace launch_test
