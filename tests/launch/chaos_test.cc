#include <catch2/catch.hpp>

#include "tools/launch/chaos_spec.h"
#include "tools/launch/fault_book.h"

using namespace regroup;
using namespace regroup::launch;

TEST_CASE("a chaos spec names action, target, trigger and length") {
  const auto faults = parse_chaos(
      "kill:2@step:60,stop:1@step:120+3s,kill:3@failpoint:after_first_chunk#2,kill:coordinator@time:250ms", 4);
  REQUIRE(faults.ok());
  REQUIRE(faults->size() == 4);
  CHECK((*faults)[0].target == 2);
  CHECK((*faults)[0].count == 60);
  CHECK((*faults)[1].action == Fault::Action::kStop);
  CHECK((*faults)[1].length == Duration::from_s(3));
  CHECK((*faults)[2].point == Point::kAfterFirstChunk);
  CHECK((*faults)[2].count == 2);
  CHECK((*faults)[3].target == kCoordinator);
  CHECK((*faults)[3].at == Duration::from_ms(250));
}

TEST_CASE("a chaos spec that cannot be meant is refused, and the error names the fault") {
  for (const char* bad :
       {"kill", "kill:9@step:1", "maim:1@step:1", "kill:1@step:x", "stop:1@step:5", "kill:1@step:5+2s",
        "kill:1@failpoint:nowhere", "kill:coordinator@step:1", "kill:1@time:5", "kill:1@step:1,"}) {
    INFO(bad);
    const auto faults = parse_chaos(bad, 4);
    CHECK(faults.code() == Code::kConfig);
    CHECK_FALSE(faults.error().detail.empty());
  }
}

TEST_CASE("a fault is armed until it has happened, and no longer") {
  FaultBook book(*parse_chaos("kill:1@step:5,stop:1@step:3+1s,kill:1@failpoint:after_prepared#7", 2));
  const std::string first = book.arm(1);
  CHECK(first.find("step#5=kill") != std::string::npos);
  CHECK(first.find("step#3=stop") != std::string::npos);
  CHECK(first.find("after_prepared") == std::string::npos);  // the kill behind it is for a later life
  CHECK(book.arm(0).empty());
  CHECK(book.stopped(1).has_value());
  CHECK(book.killed(1)->text == "kill:1@step:5");
  CHECK(book.arm(1) == "after_prepared#7=kill");
  CHECK(book.killed(1).has_value());
  CHECK(book.arm(1).empty());
  CHECK_FALSE(book.killed(1).has_value());  // somebody else's kill
}
