#include "tools/chaos/report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace regroup;
using namespace regroup::chaos;

TEST_CASE("the report counts every kind of fault and takes percentiles by nearest rank") {
  Tally t;
  t.faults["kill"] = 200;
  for (int i = 1; i <= 200; ++i) t.recovered("kill", "shm", "rank 1", Duration::from_ms(i), Duration::from_ms(2 * i));
  t.recovered("coordinator_alone", "tcp", "", Duration{0}, Duration::from_ms(3));
  const auto json = nlohmann::json::parse(report_json({}, t, 1.5));
  CHECK(json["faults"]["kill"] == 200);
  CHECK(json["faults"]["duplicate"] == 0);
  CHECK(json["recovery_ms"]["kill"]["n"] == 200);
  CHECK(json["recovery_ms"]["kill"]["p50"] == 100);
  CHECK(json["recovery_ms"]["kill"]["p99"] == 198);
  CHECK(json["recovery_ms"]["kill"]["max"] == 200);
  CHECK(json["recovery_ms_by_arena"]["shm"]["kill"]["n"] == 200);
  CHECK(json["next_commit_ms"]["kill"]["p50"] == 200);
  CHECK_FALSE(json["recovery_ms"].contains("coordinator_alone"));  // no view change: no recovery
  CHECK(json["next_commit_ms"]["coordinator_alone"]["n"] == 1);
  CHECK(json["slowest"].size() == Tally::kKeptSlow);
  CHECK(json["slowest"][0]["ms"] == 200);
}

TEST_CASE("a wrong result, a lost step, a hang and an unexpected end each make a run bad; a false suspicion does not") {
  CHECK(Tally{}.good());
  Tally t;
  t.false_suspicions = 1;
  CHECK(t.good());
  for (auto* count : {&t.hangs, &t.unexpected_ends}) {
    *count = 1;
    CHECK_FALSE(t.good());
    *count = 0;
  }
  for (auto* count : {&t.wrong, &t.lost_steps}) {
    *count = 1;
    CHECK_FALSE(t.good());
    *count = 0;
  }
}

TEST_CASE("lists of faults and arenas name what they do not know") {
  CHECK(parse_faults("kill,duplicate").value() == std::vector{FaultKind::kKill, FaultKind::kDuplicate});
  CHECK(parse_faults("").value().empty());
  CHECK(parse_arenas("net,shm").value() == std::vector{Arena::kNet, Arena::kShm});
  CHECK(parse_faults("kill,flood").error().detail.find("flood") != std::string::npos);
  CHECK(parse_arenas("kill").code() == Code::kConfig);
}
