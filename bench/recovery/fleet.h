// The processes of a recovery run: a coordinator and the members, with the page that they share. Starts, signals,
// restarts and reaps members; reads their rings into the ledger and hands every commit on. One thread; all end with the
// object.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/processes.h"
#include "bench/recovery/arguments.h"
#include "bench/recovery/page.h"

namespace regroup::bench {

class Fleet {
 public:
  using OnCommit = std::function<void(std::size_t member, const Commit& commit)>;

  Fleet() = default;
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  Status start(const RecoveryArguments& arguments);
  // Reads what the members wrote since the last call; kSystem when one of them ended that nobody killed.
  Status drain(Ledger& ledger, const OnCommit& on_commit);
  // The time just before the signal was sent, ns.
  std::int64_t signal(std::size_t member, int signal);
  void reap(std::size_t member);  // after SIGKILL
  Status restart(std::size_t member);

  [[nodiscard]] const MemberPart& part(std::size_t member) const { return page_->members[member]; }
  [[nodiscard]] bool huge_pages() const;
  // Keeps the folder, with every member's flight record and the lines given; returns its path.
  std::string keep(const std::vector<std::string>& lines);
  // What is known of a hang: each member's last commit, process state, flight record, log.
  std::string describe();

 private:
  Status start_member(std::size_t member);
  [[nodiscard]] std::string log_of(std::size_t member) const;

  TemporaryFolder folder_;
  CoordinatorProcess coordinator_;
  Page* page_ = nullptr;
  int page_fd_ = -1;
  std::vector<pid_t> pids_;  // -1: not running
  std::vector<Commit> last_;
};

}  // namespace regroup::bench
