#include "tools/chaos/run.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "tools/chaos/episode.h"
#include "tools/chaos/page.h"
#include "tools/chaos/report.h"

namespace regroup::chaos {
namespace {

bool has(const std::vector<FaultKind>& list, FaultKind kind) { return std::find(list.begin(), list.end(), kind) != list.end(); }

// Everything that was not named, and what cannot be done here left out, aloud.
void settle(ChaosArguments& a, Tally& tally) {
  if (a.faults.empty())
    for (int i = 0; i < static_cast<int>(FaultKind::kCount); ++i) a.faults.push_back(static_cast<FaultKind>(i));
  if (a.members < 3 && std::erase(a.faults, FaultKind::kViewChangeKill) > 0)
    tally.skipped.push_back("view_change_kill: needs 3 members");
  if (a.members - a.spared < 3 && std::erase(a.faults, FaultKind::kJoin) > 0)
    tally.skipped.push_back("join: needs 3 members that may be killed");
  const bool named = !a.arenas.empty();
  if (!named) a.arenas = {Arena::kShm, Arena::kTcp, Arena::kNet};
  if (std::string why = Network::why_not(); !why.empty()) {
    if (std::erase(a.arenas, Arena::kNet) > 0) tally.skipped.push_back("arena net: " + why);
  }
  const bool net = std::find(a.arenas.begin(), a.arenas.end(), Arena::kNet) != a.arenas.end();
  if (!net && std::erase(a.faults, FaultKind::kPartition) > 0) tally.skipped.push_back("partition: needs the arena net");
  if (a.faults.size() == 1 && has(a.faults, FaultKind::kPartition)) a.arenas = {Arena::kNet};
}

Status check(const ChaosArguments& a) {
  if (a.members < 2 || a.members > static_cast<int>(kMaxMembers)) return {Code::kConfig, "members: 2 to 16"};
  if (a.spared < 0 || a.spared > a.members - 2) return {Code::kConfig, "spare: at least two members must be left to kill"};
  if (!(a.seconds > 0 && a.seconds <= 1e6)) return {Code::kConfig, "seconds: more than 0, at most 1,000,000"};
  if (!(a.hang_s >= 1 && a.hang_s <= 3600)) return {Code::kConfig, "hang bound: 1 to 3600 s"};
  const bool device = a.device == "host" || a.device.starts_with("host,") || a.device.starts_with("cuda:");
  if (!a.device.empty() && (!device || a.device.size() >= sizeof(Settings::device))) return {Code::kConfig, "device: cuda:N or host"};
  if (a.max_bytes < 8 || a.max_bytes > (1u << 30)) return {Code::kConfig, "bytes: 8 B to 1 GiB"};
  return {};
}

}  // namespace

Status run(ChaosArguments a, Tally& tally) {
  if (Status s = check(a); !s.ok()) return s;
  settle(a, tally);
  if (a.faults.empty() || a.arenas.empty()) return {Code::kConfig, "none of the faults asked for can be made here"};
  const Instant begin = now();
  const bool live = ::isatty(STDERR_FILENO) != 0;
  Instant shown = begin;
  const auto progress = [&] {
    if (now() - shown < Duration::from_ms(live ? 200 : 10'000)) return;
    shown = now();
    std::fprintf(stderr, "%s%s%s", live ? "\r\033[K" : "", progress_line(tally, (now() - begin).ms() / 1000, a.seconds).c_str(),
                 live ? "" : "\n");
  };
  for (std::size_t i = 0; i < a.arenas.size(); ++i) {
    FleetSetup setup;
    setup.arguments = a;
    setup.arena = a.arenas[i];
    // Odd seeds: several ops in flight; even ones: registered state, one at a time, half of these with catch-up.
    setup.depth = (a.seed + i) % 2 == 0 ? 1 : 4;
    setup.follow = (a.seed + i) % 4 == 0;
    std::unique_ptr<Network> network;
    if (setup.arena == Arena::kNet) {
      auto made = Network::make(std::min(a.members, Network::kMaxHosts));
      if (!made.ok()) return made.error();
      network = std::move(*made);
      setup.network = network.get();
    }
    const Instant until = begin + Duration::from_ms(static_cast<std::int64_t>(a.seconds * 1000 * static_cast<double>(i + 1) /
                                                                              static_cast<double>(a.arenas.size())));
    if (Status s = Episode(setup, a.seed * 1000 + i, tally).run(until, progress); !s.ok()) return s;
  }
  if (live) std::fprintf(stderr, "\r\033[K");
  return {};
}

}  // namespace regroup::chaos
