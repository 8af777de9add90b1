// Options of a group: one struct, settable in code, by REGROUP_* variables and by "key=value" text. Unknown keys are errors.
// All members of a group must agree on those marked (=): their hash is compared at join.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "regroup/export.h"
#include "regroup/types.h"

namespace regroup {

struct REGROUP_API Options {
  std::string group = "default";     // (=) REGROUP_GROUP
  std::string coordinator;           // host:port, REGROUP_COORDINATOR; empty: rank 0 starts one at MASTER_ADDR:MASTER_PORT
  int rank = -1;                     // REGROUP_RANK, else RANK; this member's replica id
  int world_size = 0;                // (=) REGROUP_WORLD_SIZE, else WORLD_SIZE; members of the first view
  int min_members = 1;               // (=) below it ops wait at a mark, then fail with kUnavailable
  std::string transport = "auto";    // (=) auto, shm, tcp, ucx, nccl: REGROUP_TRANSPORT
  std::uint32_t ucx_rails = 0;       // transport ucx: network devices that a payload may be spread over, 1 to 8; 0: as UCX is set
  std::string ucx_device = "auto";   // transport ucx: payloads go from and to the memory of `device` without pinned copies of the host's: auto,
                                     // where UCX has a device that can fetch them there; always, where it knows such memory at all; never
  std::string nccl_library;          // transport nccl: file, or name for the loader; empty: libnccl.so.2
  std::string device;                // buffers may lie there: "cuda:0"; "host": a simulated one, for tests; empty: host memory only
  bool device_plans = true;          // ops whose buffers lie on devices of one host at all members are carried out there; false: by copies
                                     // in host memory, as all others (and where `apply` is set)
  std::uint32_t device_ctas = 32;    // thread blocks that a reduction there takes, 1 to 1024
  double nccl_timeout_s = 10;        // transport nccl: bound of making a communicator, of a collective, of an abort, each
  std::string interface;             // network interface or address of data links; empty: the one that reaches the coordinator
  std::string host_id;               // members with equal ones are on one host: share memory, see each other die; empty: found out
  std::string secret;                // shared secret of the group; empty: none. REGROUP_SECRET
  bool explicit_marks = false;       // (=) only ops with OpOptions::mark end a step; false: every op does
  std::uint32_t window = 8;          // (=) ops that may be uncommitted at once, 1 to 32; the next submit waits
  std::size_t small_bytes = 32768;   // (=) ops up to this size go through one cache-resident exchange
  std::string plan = "auto";         // (=) over networks: auto, or one that every op takes that can: direct, ring, doubling, gather,
                                     // hierarchical (where some members share a host, not all)
  std::string order = "any";         // (=) canonical: only plans that fold in member order, so that all have the same bits
  std::string cost;                  // (=) figures that plans are chosen by: "net_gbps=12 net_hop_us=8 ...", or @FILE; empty: measured at join
  std::size_t staging_bytes = 1ull << 30;  // bound of staged private buffers and received chunks (not of the copies of buffers on a device,
                                           // which are as much as their ops in flight)
  double join_timeout_s = 60;        // bound of Group::join
  double wait_timeout_s = 300;       // bound of a wait that names none
  double unavailable_timeout_s = 30; // no coordinator, or too few members, for this long: kUnavailable
  bool auto_rejoin = true;           // an evicted member rejoins by itself inside its next wait
  bool no_commit = false;            // (=) benchmarks only: skip the commit rule, give up G1. Never for real work
  std::string failpoints;            // tests and chaos: "after_first_chunk#2=kill,after_prepared#1=stop"; call: detach()
  std::string trace_file;            // flight recorder dump: path prefix; SIGUSR1 or an expired bound writes it

  // Catch-up, where `apply` is set: the members tell with Group::begin_update and end_update when they change their state,
  // and a returning member catches up as an observer while they train on; nobody waits for it. Without `apply` it takes its
  // whole state while the others wait at a mark.
  std::uint64_t snapshot_bytes = 1ull << 30;  // what a member keeps for one joiner while it changes its state
  std::uint64_t feed_bytes = 256ull << 20;    // committed results that it keeps for joiners
  std::uint64_t catch_up_rate = 0;            // bytes/s that it sends one joiner; 0: no bound
  double catch_up_share = 0.25;               // of a core, for one joiner (its first 30 ms of CPU time are not counted); 0: no bound.
                                              // Besides, a transfer waits for collectives and updates, at most half of the time.
                                              // Each time that its joiner's journal, or what is kept for it, was full before the end,
                                              // rate and share are doubled
  std::uint64_t journal_bytes = 256ull << 20; // results that a joiner holds in memory, then
  std::uint64_t spill_bytes = 4ull << 30;     // in a file without a name
  std::string spill_dir;                      // there; empty: TMPDIR, else /tmp
  // Cold start, where `apply` is set. A group whose members are all new, or come back all at once, takes the newest state that
  // one of them holds, in memory or in its checkpoint_dir, before Group::join returns (steps() is as of it, on_restored is
  // called where state was overwritten). Where nobody holds any, each keeps what it has registered. A member that holds a
  // newer step than a running group is refused with kConfig, and so is one whose folder cannot be written, is of another
  // group or of other state, or whose checkpoint is damaged. What cannot be written later is told by Group::checkpoints().
  std::string checkpoint_dir;           // members may share it, or have their own; empty: no checkpoints
  std::uint64_t checkpoint_every = 100; // (=) steps between two checkpoints, which members write in turn; 0: none, only read
  std::vector<StateBuffer> state;    // registered state, by name
  std::vector<StateBlob> blobs;      // with `apply` only
  ApplyFunction apply;               // called on a thread of the library while the joining thread waits inside it
  std::function<void()> on_restored; // called on the joining thread after the state was overwritten
  ViewCallback on_view;              // called on the control thread at every installed view; must return quickly

  // Defaults, then REGROUP_* (and RANK, WORLD_SIZE) of the environment. kConfig names the variable and what is wrong.
  static Result<Options> from_environment();
  // Sets one option from text, e.g. set("transport", "tcp").
  Status set(std::string_view key, std::string_view value);
  // All settable options with their effective values; the secret is masked.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> effective() const;
  // Checks ranges and combinations.
  [[nodiscard]] Status validate() const;
  // Text of all options marked (=), in order; equal texts are equal configurations.
  [[nodiscard]] std::string shared_text() const;
};

}  // namespace regroup
