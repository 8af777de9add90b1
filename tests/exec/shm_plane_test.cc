// ShmPlane of members in one process: an output given as scratch is read by peers until they are prepared; who gives it
// back by a decision says so first, so that a member that was stopped in its pull takes nothing of what is written
// there next.
#include "runtime/exec/shm_plane.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "base/rng.h"
#include "transport/wire/address.h"

using namespace regroup;

namespace {

constexpr std::size_t kMembers = 3, kCount = 600'000;

struct MemberHere {
  std::unique_ptr<shm::Domain> domain;
  ShmStaging staging;
  std::unique_ptr<ShmPairs> pairs;
  std::unique_ptr<ShmPlane> plane;
  std::uint64_t* in = nullptr;
  std::uint64_t* out = nullptr;
  ExecOp op;
  Failpoints failpoints;
  ExecContext context;
  std::atomic<std::uint32_t> stop{0};
};

void begin(std::vector<MemberHere>& members, OpKind kind) {
  View view;
  view.epoch = 5;
  for (std::size_t i = 0; i < kMembers; ++i) {
    const Incarnation inc = random_incarnation();
    auto domain = shm::Domain::create(inc, 8, 4096);
    REQUIRE(domain.ok());
    members[i].domain = std::move(*domain);
    members[i].pairs = std::make_unique<ShmPairs>(*members[i].domain, kMembers, 1 << 20);
    wire::MemberAddress at;
    at.segment_socket = members[i].domain->socket_name();
    view.members.push_back({{static_cast<std::uint32_t>(i), 0}, inc, 0, wire::encode(at)});
  }
  for (std::size_t i = 0; i < kMembers; ++i) {
    MemberHere& m = members[i];
    std::size_t bad = 0;
    auto plane = ShmPlane::open(*m.domain, m.staging, *m.pairs, view, i, bad, m.domain->words().window);
    REQUIRE(plane.ok());
    m.plane = std::move(*plane);
    m.in = static_cast<std::uint64_t*>(*m.domain->allocate(kCount * 8));
    m.out = static_cast<std::uint64_t*>(*m.domain->allocate(kMembers * kCount * 8));
    for (std::size_t k = 0; k < kCount; ++k) m.in[k] = (k % 15 + 1) << (4 * i);
    m.op.id = 1;
    m.op.desc.kind = kind;
    m.op.desc.type = DataType::kU64;
    m.op.desc.flags = OpDesc::kOutputScratch;
    m.op.desc.count = kCount;
    m.op.in = m.in;
    m.op.out = m.out;
    m.context.stop = &m.stop;
    m.context.failpoints = &m.failpoints;
    m.context.check_peers = [] {};
    m.context.deadline = now() + Duration::from_s(20);
  }
}

// All members run; the last one stops when it has placed its part and pulled nothing.
std::vector<RunState> run_until_last_stops(std::vector<MemberHere>& members) {
  std::vector<RunState> ends(kMembers);
  MemberHere& last = members.back();
  REQUIRE(last.failpoints.arm("after_placed=call").ok());
  last.failpoints.set_hook([&](Point) { last.stop = 1; });
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kMembers; ++i)
    threads.emplace_back([&, i] { ends[i] = members[i].plane->run(members[i].op, members[i].context).state; });
  for (std::thread& t : threads) t.join();
  return ends;
}

bool right(const MemberHere& m, OpKind kind) {
  for (std::size_t k = 0; k < kCount; ++k) {
    if (kind == OpKind::kAllReduce && m.out[k] != (k % 15 + 1) * 0x111) return false;
    for (std::size_t i = 0; kind == OpKind::kAllGather && i < kMembers; ++i)
      if (m.out[i * kCount + k] != (k % 15 + 1) << (4 * i)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("with the output as scratch the whole result stands there before prepared, and the input is intact") {
  const OpKind kind = GENERATE(OpKind::kAllReduce, OpKind::kAllGather);
  std::vector<MemberHere> members(kMembers);
  begin(members, kind);
  const auto ends = run_until_last_stops(members);
  CHECK(ends == std::vector<RunState>{RunState::kPrepared, RunState::kPrepared, RunState::kStopped});
  members.back().stop = 0;
  CHECK(members.back().plane->run(members.back().op, members.back().context).state == RunState::kPrepared);
  for (std::size_t i = 0; i < kMembers; ++i) {
    CHECK(right(members[i], kind));
    for (std::size_t k = 0; k < kCount; k += 997) REQUIRE(members[i].in[k] == (k % 15 + 1) << (4 * i));
  }
}

TEST_CASE("who was stopped in its pull is not prepared once an owner has its output back by a decision") {
  const OpKind kind = GENERATE(OpKind::kAllReduce, OpKind::kAllGather);
  const bool installed = GENERATE(true, false);
  std::vector<MemberHere> members(kMembers);
  begin(members, kind);
  run_until_last_stops(members);
  members[0].plane->fence();
  if (installed) {
    members[0].plane->retire();
    members[0].plane->copy_out(members[0].op);
  } else {
    members[0].plane.reset();  // evicted
  }
  std::fill(members[0].out, members[0].out + kCount, 77);  // its caller goes on
  std::fill(members[0].in, members[0].in + kCount, 77);
  members.back().stop = 0;
  CHECK(members.back().plane->run(members.back().op, members.back().context).state == RunState::kBroken);
}

TEST_CASE("scratch is used again when all members have copied out of it, not when its owner has") {
  std::vector<MemberHere> members(kMembers);
  begin(members, OpKind::kAllReduce);
  std::vector<RunState> ends(kMembers);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kMembers; ++i) {
    members[i].op.desc.flags = 0;
    threads.emplace_back([&, i] { ends[i] = members[i].plane->run(members[i].op, members[i].context).state; });
  }
  for (std::thread& t : threads) t.join();
  REQUIRE(ends == std::vector<RunState>(kMembers, RunState::kPrepared));
  for (std::size_t i = 0; i + 1 < kMembers; ++i) {  // committed; the last one is slow to copy out
    members[i].plane->copy_out(members[i].op);
    members[i].plane->release(1);
  }
  // The next op's table would stand at the head of the same scratch.
  MemberHere& first = members.front();
  ExecOp next;
  next.id = 2;
  next.desc.kind = OpKind::kAllToAllV;
  next.desc.type = DataType::kU64;
  next.in = first.in;
  next.out = first.out;
  auto tables = std::make_shared<algo::Tables>();
  for (std::size_t i = 0; i < kMembers; ++i) {
    tables->give.push_back({i * 80'000, 80'000});
    tables->take.push_back({i * 80'000, 80'000});
  }
  next.tables = std::move(tables);
  first.context.deadline = now() + Duration::from_ms(30);
  CHECK(first.plane->run(next, first.context).state == RunState::kStopped);
  members.back().plane->copy_out(members.back().op);
  for (const MemberHere& m : members) CHECK(right(m, OpKind::kAllReduce));
}
