// Fleet: the processes of an episode: a coordinator with its log, the workers, and the page that they share. Starts,
// signals and reaps them, reads what the workers wrote. It has no opinion: what a fault means is the episode's.
//
// Ownership: the processes, which all end with the object, a folder with log and flight records, the page. One thread.
// Every wait is bounded. After an error: what runs goes on until the destructor.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "tools/chaos/arguments.h"
#include "tools/chaos/network.h"
#include "tools/chaos/page.h"
#include "tools/chaos/process.h"

namespace regroup::chaos {

struct FleetSetup {
  ChaosArguments arguments;
  Arena arena = Arena::kShm;
  std::uint32_t depth = 1;
  bool follow = false;
  Network* network = nullptr;  // kNet
};

class Fleet {
 public:
  using OnCommit = std::function<void(int rank, const Commit&)>;
  using OnView = std::function<void(int rank, const SeenView&)>;

  explicit Fleet(FleetSetup setup) : setup_(std::move(setup)) {}
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // Coordinator and all ranks.
  Status start();
  // Another process of a rank, with protocol points armed ("after_prepared#2=stop"); its slot.
  Result<int> start_worker(int rank, const std::string& points = "");
  Status start_coordinator();
  // Reads rings and outputs, reaps. kSystem: a process ended that nobody had killed.
  Status drain(const OnCommit& on_commit, const OnView& on_view);

  // The slot of a rank's process (the one that was named last).
  [[nodiscard]] int slot_of(int rank) const { return slots_of_[static_cast<std::size_t>(rank)]; }
  void name(int rank, int slot) { slots_of_[static_cast<std::size_t>(rank)] = slot; }
  [[nodiscard]] bool running(int slot) const { return workers_.contains(slot); }
  [[nodiscard]] bool stopped(int slot) const { return running(slot) && workers_.at(slot).process.stopped(); }
  [[nodiscard]] bool in_op(int slot) const { return page_->slots[slot].in_op.load() != 0; }
  // The time just before; the process counts as killed from then on.
  Instant kill(int slot);
  Instant signal(int slot, int signal);
  Instant kill_coordinator();
  Instant signal_coordinator(int signal);
  // Whether the coordinator says that all ranks are members and connected to it (`regroup status`).
  [[nodiscard]] bool coordinated() const;
  [[nodiscard]] int host_of(int rank) const { return setup_.network ? rank % setup_.network->hosts() : 0; }

  struct Usage {
    int rank = 0;
    pid_t pid = 0;
    double age_s = 0, rss_mib = 0;
    int descriptors = 0;
  };
  [[nodiscard]] std::vector<Usage> usage() const;
  // Asks all workers for their flight records; the files, once they are there (bounded).
  std::vector<std::string> flight_records();
  // What is known of a hang.
  std::string describe();
  [[nodiscard]] const std::string& folder() const { return folder_; }
  void keep() { keep_ = true; }
  // Keeps what all know now (flight records, what they said) in a folder of that name below folder(); stopped workers go on.
  void set_apart(const std::string& name);
  [[nodiscard]] std::uint64_t lost_views() const;

 private:
  struct Worker {
    Process process;
    int rank = 0;
    Instant started{0};
    bool killed = false;
    Commit last{};
    SeenView last_view{};
  };
  [[nodiscard]] std::vector<std::string> on_host(int host, std::vector<std::string> command) const;

  FleetSetup setup_;
  std::string folder_, address_;
  bool keep_ = false;
  Page* page_ = nullptr;
  Fd page_fd_;
  Process coordinator_;
  bool coordinator_killed_ = false;
  std::map<int, Worker> workers_;  // by slot
  std::vector<int> slots_of_;
};

}  // namespace regroup::chaos
