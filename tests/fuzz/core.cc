// The protocol's machines (ft/core) under a script: see core_world.h. First byte: bit 0 clear: all are honest, and
// their histories are judged as `regroup check` does; set: members and coordinators may also hear what nobody has said.
// Bit 7: the rest is a script for the Detector alone.
#include "ft/core/detector.h"
#include "tests/fuzz/core_world.h"

using namespace regroup;

namespace {

void detect(fuzz::Source& source) {
  const Duration suspicion = Duration::from_ms(source.u8()), gap = Duration::from_ms(source.u8());
  Detector detector(suspicion, gap);
  std::map<Incarnation, Instant> heard;  // watched, and when heard of last (or watched first)
  Instant now{1};
  for (int steps = 0; !source.done() && steps < 500; ++steps) {
    const Incarnation who{1, source.below(4)};
    const std::uint8_t what = source.u8();
    now = now + Duration::from_ms(what >> 3);
    switch (what % 8) {
      case 0:
        detector.watch(who, now);
        heard.try_emplace(who, now);
        break;
      case 1:
      case 2:
        detector.heard(who, now);
        if (heard.contains(who)) heard[who] = now;
        break;
      case 3:
        detector.forget(who);
        heard.erase(who);
        break;
      case 4:
        detector.shorten(who, now, Duration::from_ms(source.u8()));
        if (heard.contains(who)) heard[who] = Instant{-1};  // may be suspected any time
        break;
      case 5: now = now + Duration::from_ns(static_cast<std::int64_t>(source.u64() >> 24)); break;
      default:
        for (const Incarnation& suspect : detector.tick(now)) {
          RG_CHECK(heard.contains(suspect));
          RG_CHECK(heard[suspect].ns < 0 || now - heard[suspect] >= suspicion);
        }
    }
    if (heard.contains(who) && heard[who].ns > 0) RG_CHECK(!detector.heard_after(who, now));
  }
}

}  // namespace

FUZZ_TARGET(core) {
#ifdef REGROUP_MUTANTS  // one of the seeded bugs, by name: REGROUP_MUTANT
  const char* chosen = std::getenv("REGROUP_MUTANT");
  for (const MutantInfo& m : kMutants)
    if (chosen != nullptr && m.name == chosen) active_mutant = m.mutant;
  RG_CHECK_MSG(chosen == nullptr || active_mutant != Mutant::kNone, "no such mutant");
#endif
  fuzz::Source source(in);
  if (!in.empty() && (in.front() & 128) != 0) {
    source.u8();
    return detect(source);
  }
  fuzz::World world(source);
  for (int steps = 0; !source.done() && steps < 2000; ++steps) world.step();
}
