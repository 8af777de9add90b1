// The reader of histories: lines of the simulator, of flight records, and of nobody.
#include <catch2/catch.hpp>

#include "ft/sim/checker.h"
#include "ft/sim/history_reader.h"

using namespace regroup;
using namespace regroup::sim;

TEST_CASE("what to_json writes is read back") {
  Record r;
  r.time_ns = 12, r.life = 3, r.replica = 2, r.what = What::kCommitted, r.op = 9, r.epoch = 4, r.log = UINT64_MAX;
  r.mark = true;
  r.contributors = 3, r.divisor = 2, r.value = {0x11, 77}, r.expected = {0x11, 78};
  HistoryReader reader(0);
  const auto back = reader.on(to_json(r));
  REQUIRE(back.ok());
  REQUIRE(back->has_value());
  CHECK(to_json(**back) == to_json(r));
  CHECK((*back)->expected == r.expected);
}

TEST_CASE("the end of a message is read back with its pair, its end and its bytes") {
  Record r;
  r.life = 3, r.what = What::kMessageTaken, r.op = 9, r.log = 5, r.mark = true, r.peer = 7;
  r.value = {0x11, 77}, r.expected = {0x11, 78};
  HistoryReader reader(0);
  const auto taken = reader.on(to_json(r));
  REQUIRE((taken.ok() && taken->has_value()));
  CHECK(to_json(**taken) == to_json(r));
  CHECK((*taken)->expected == r.expected);
  r.what = What::kMessageFailed, r.sends = true;
  const auto failed = reader.on(to_json(r));
  REQUIRE((failed.ok() && failed->has_value()));
  CHECK((*failed)->peer == 7);
  CHECK((*failed)->sends);
}

TEST_CASE("a flight record says whose it is by its file, and goes on with another life after the end of one") {
  HistoryReader reader(2);
  const auto first = reader.on(R"({"event":"ended","code":6})");
  const auto second = reader.on(R"({"event":"install","epoch":3})");
  REQUIRE((first.ok() && second.ok()));
  CHECK((*first)->replica == 2);
  CHECK((*first)->code == Code::kEvicted);
  CHECK((*second)->life == (*first)->life + 1);
  CHECK_FALSE(reader.on(R"({"event":"step"})")->has_value());
  CHECK_FALSE(reader.on("# a comment")->has_value());
}

TEST_CASE("a line that is not ours is refused, not thrown at") {
  HistoryReader reader(0);
  for (const char* line : {"nonsense", "[1]", "1", R"({"event":"install","epoch":"three"})",
                           R"({"event":"install","epoch":-1})", R"({"event":"install","epoch":1e300})",
                           R"({"event":"install","life":4294967296})", R"({"event":"ended","code":300})"})
    CHECK(reader.on(line).code() == Code::kInvalid);
  CHECK_FALSE(reader.on(R"({"event":7})")->has_value());
}

TEST_CASE("a history that names a huge op number is judged without memory for all ops below it") {
  Checker checker;
  Record r;
  r.what = What::kSubmitted, r.op = UINT64_MAX;
  CHECK(checker.on(r).empty());
  r.what = What::kDurable, r.op = UINT64_MAX;
  CHECK(checker.on(r).empty());
}

TEST_CASE("a flight record whose begin was overwritten is judged from the first op that it settles on") {
  HistoryReader reader(3);
  Checker checker;
  const auto on = [&](const std::string& line) -> std::string {
    const auto record = reader.on(line);
    REQUIRE(record.ok());
    return *record ? checker.on(**record) : "";
  };
  CHECK(on(R"({"flight":1,"recorded":90000,"kept":4})").empty());
  CHECK(on(R"({"event":"install","op":20111,"epoch":75})").empty());  // of a life long under way
  CHECK(on(R"({"event":"committed","op":20109,"epoch":74})").empty());
  CHECK(on(R"({"event":"committed","op":20110,"epoch":74})").empty());
  CHECK(on(R"({"event":"committed","op":20112,"epoch":75})").starts_with("G4"));
}

TEST_CASE("a member may begin behind an op of which no record tells whether it ends a step") {
  HistoryReader reader(0);
  Checker checker;
  const auto install = reader.on(R"({"event":"install","op":20111,"epoch":75})");
  REQUIRE((install.ok() && *install));
  CHECK(checker.on(**install).empty());
}
