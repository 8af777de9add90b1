// Faults of a run as text (tools/launch/chaos_spec.h). First byte: how many ranks there are. What is taken is within
// its bounds, and taken the same way when its text is read again.
#include "tools/launch/chaos_spec.h"

#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::launch;

FUZZ_TARGET(chaos_spec) {
  fuzz::Source source(in);
  const int ranks = static_cast<int>(source.u8());
  const std::string text = fuzz::text_of(source.rest());
  (void)parse_duration(text).ok();
  const auto faults = parse_chaos(text, ranks);
  if (!faults) {
    RG_CHECK(faults.code() == Code::kConfig && !faults.error().detail.empty());
    return;
  }
  for (const Fault& f : *faults) {
    RG_CHECK(f.target == kCoordinator || (f.target >= 0 && f.target < ranks));
    RG_CHECK(f.at.ns >= 0 && f.at <= Duration::from_s(86400) && f.length.ns >= 0 &&
             f.length <= Duration::from_s(86400));
    RG_CHECK((f.action == Fault::Action::kStop) == (f.length.ns > 0) &&
             (f.trigger == Fault::Trigger::kTime) == (f.at.ns > 0));
    const auto again = parse_chaos(f.text, ranks);
    RG_CHECK(again.ok() && again->size() == 1);
    const Fault& g = again->front();
    RG_CHECK(g.action == f.action && g.trigger == f.trigger && g.target == f.target && g.count == f.count &&
             g.point == f.point && g.at == f.at && g.length == f.length);
  }
}
