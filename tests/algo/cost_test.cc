// The cost model: what it counts, and that it orders plans as a machine would.
#include "runtime/algo/cost.h"

#include <catch2/catch.hpp>
#include <string>

using namespace regroup;
using namespace regroup::algo;

namespace {

Estimate of(OpKind kind, std::size_t bytes, std::size_t n, Medium medium, Machine machine = {}, bool staged = false) {
  Request r;
  r.desc.kind = kind;
  r.desc.type = DataType::kF32;
  r.desc.count = bytes / 4;
  r.members = n;
  r.spread = spread_for(n, medium == Medium::kShared);
  Plan plan;
  make_plan(r, plan);
  return estimate(plan, r.desc, 0, medium, machine, staged);
}

}  // namespace

TEST_CASE("an all-reduce through shared memory moves what DATA_PATH counts: (3N+1) S over all, staging besides") {
  const std::size_t s = 64u << 20;
  for (std::size_t n : {2u, 4u, 8u}) {
    CHECK(of(OpKind::kAllReduce, s, n, Medium::kShared).moved * n == (3 * n + 1) * s);
    CHECK(of(OpKind::kAllReduce, s, n, Medium::kShared, {}, true).moved * n == (5 * n + 1) * s);
  }
}

TEST_CASE("over a network a member of an all-reduce sends 2(N-1)/N of its input, the root of a broadcast less than twice its own") {
  const std::size_t s = 64u << 20;
  CHECK(of(OpKind::kAllReduce, s, 4, Medium::kNetwork).sent == 2 * s / 4 * 3);
  CHECK(of(OpKind::kBroadcast, s, 4, Medium::kNetwork).sent == s / 4 * 6);
  CHECK(of(OpKind::kBroadcast, s, 2, Medium::kNetwork).sent == s);
}

TEST_CASE(
    "more bytes and more members cost more, small ops little but their hand-offs, and figures of the machine count") {
  double last = 0;
  for (std::size_t bytes : {4u, 4096u, 65'536u, 1u << 20, 64u << 20}) {
    const Estimate e = of(OpKind::kAllReduce, bytes, 4, Medium::kShared);
    CHECK(e.us > last);
    last = e.us;
    CHECK(std::string(e.plan) == (bytes <= 32'768 ? "small" : "waist"));
  }
  Machine slow;
  REQUIRE(slow.set("copy_gbps=2").ok());
  CHECK(of(OpKind::kAllReduce, 1u << 20, 2, Medium::kShared, slow).us >
        5 * of(OpKind::kAllReduce, 1u << 20, 2, Medium::kShared).us);
  CHECK(of(OpKind::kAllReduce, 1u << 20, 8, Medium::kShared).us >
        of(OpKind::kAllReduce, 1u << 20, 2, Medium::kShared).us);
  CHECK(slow.set("cores=0").code() == Code::kConfig);
  CHECK(slow.set("speed=3").code() == Code::kConfig);
  CHECK(slow.set("hop_us=x").code() == Code::kConfig);
  CHECK(slow.set("hop_us").code() == Code::kConfig);
}
