// ExchangeTime: near or far by the last looks, whatever a look costs by itself, and nothing claimed before there are enough.
#include "transport/shm/exchange_time.h"

#include <catch2/catch.hpp>

using namespace regroup;
using shm::ExchangeTime;

namespace {

void look(ExchangeTime& time, int times, std::int64_t ns) {
  for (int i = 0; i < times; ++i) time.look(Duration::from_ns(ns));
}

}  // namespace

TEST_CASE("a member is near while most of its last looks cost hardly more than a look that found nothing") {
  const std::int64_t floor = GENERATE(20, 400);  // of a slow clock too
  ExchangeTime time;
  time.idle_look(Duration::from_ns(floor + 30));
  time.idle_look(Duration::from_ns(floor));
  CHECK_FALSE(time.near());  // nothing is known
  look(time, ExchangeTime::kSamples - 1, floor + 5);
  CHECK_FALSE(time.near());
  look(time, 1, floor + 5);
  CHECK(time.near());
  look(time, 3, 1'000'000);  // interrupted
  CHECK(time.near());
  look(time, ExchangeTime::kSamples, floor + 130);  // moved to another core
  CHECK_FALSE(time.near());
  look(time, ExchangeTime::kSamples / 2, floor + 5);
  CHECK_FALSE(time.near());
  look(time, 1, floor + 5);
  CHECK(time.near());
}
