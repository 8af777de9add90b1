// World: a whole group in one process for the conformance suite: a coordinator in a thread, members as groups of their
// own.
//
// The suite sees the public API only; which transport carries the bytes is a parameter (transports()). Killing a member
// is Group::detach() from another thread, or a failpoint with the action `call` in its options: nobody is told, its
// words stay as they are. Ownership: World owns coordinator, groups, and a folder that it removes. Threading: each()
// starts one thread a member and joins them; nothing in a member's thread may use Catch (v2 is not thread-safe): return
// values, check after. Every wait has a bound: the options' timeouts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "ft/driver/coordinator_server.h"
#include "regroup/group.h"

namespace regroup::conformance {

// Every transport that the suite must hold for. The one place that names them. REGROUP_TEST_TRANSPORTS names others, also
// with a plan that every op takes that can ("tcp:ring tcp:doubling"), or with canonical order ("tcp:canonical"). "hybrid": two
// members each on a "host" of their own.
const std::vector<std::string>& transports();
// Its plans fold in member order, as the reference does; else rounded sums have other bits (the same at all members).
bool in_member_order(const std::string& transport);

inline constexpr double kBound_s = 30;  // nothing that is expected to end takes longer, sanitizers included

class World {
 public:
  using Tweak = std::function<void(int rank, Options&)>;
  // Starts the coordinator; joins nobody yet.
  World(std::string transport, int size, Tweak tweak = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // All ranks join at once. Empty, or what went wrong.
  std::string start();
  [[nodiscard]] Options options(int rank) const;
  Status join(int rank);  // any thread, one a rank; replaces what was there
  Status join(int rank, Options options);
  [[nodiscard]] Group& at(int rank) const { return *groups_[static_cast<std::size_t>(rank)]; }
  void drop(int rank) { groups_[static_cast<std::size_t>(rank)].reset(); }
  [[nodiscard]] std::vector<int> ranks() const;  // 0 .. size-1

  // Runs body(rank) on a thread of its own for every rank given; their results in that order.
  template <class Body>
  static auto each(const std::vector<int>& ranks, Body body) {
    using T = std::invoke_result_t<Body, int>;
    std::vector<std::unique_ptr<T>> got(ranks.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < ranks.size(); ++i)
      threads.emplace_back([&, i] { got[i] = std::make_unique<T>(body(ranks[i])); });
    for (std::thread& t : threads) t.join();
    std::vector<T> results;
    for (auto& one : got) results.push_back(std::move(*one));
    return results;
  }

  Status start_coordinator();  // on the same log and port as before
  void stop_coordinator();
  Status forget_log();  // all members are lost: a coordinator with a new log, at the same address
  [[nodiscard]] const std::string& coordinator() const { return address_; }
  [[nodiscard]] LogId log_id() const { return log_id_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }  // of the coordinator's logs

 private:
  std::string transport_, plan_ = "auto", folder_, group_, address_;
  int size_;
  Tweak tweak_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::unique_ptr<CoordinatorServer> server_;
  std::thread server_thread_;
  LogId log_id_ = 0;
};

// Polls until the condition holds; false: not within the bound.
bool eventually(const std::function<bool()>& holds, double bound_s = kBound_s);

}  // namespace regroup::conformance
