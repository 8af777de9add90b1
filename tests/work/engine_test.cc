// Engine with a plane and a host that only take notes: what has happened to an epoch when its ops end by a decision.
#include "runtime/work/engine.h"

#include <catch2/catch.hpp>
#include <thread>

using namespace regroup;

namespace {

struct Notes {
  std::vector<std::string> of;
  std::atomic<bool> prepared{false};
};

struct NotedPlane : Plane {
  explicit NotedPlane(Notes& notes) : notes(notes) {}
  ~NotedPlane() override { notes.of.push_back("gone"); }
  RunResult run(ExecOp&, ExecContext&) override { return RunState::kPrepared; }
  void announce_prepared(OpId) override { notes.prepared = true; }
  RunResult await_commit(OpId, CommitCounter&, ExecContext& context) override {
    while (!context.should_stop() && now() < context.deadline) std::this_thread::yield();
    return RunState::kStopped;
  }
  void copy_out(ExecOp&) override { notes.of.push_back("copy_out"); }
  void release(OpId) override {}
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext&) override {  // the receiver has them at once
    for (PairMessage* m : messages) {
      m->pair->counter.observe_prepared(m->number);
      m->pair->counter.settle(m->number);
      m->done = true;
    }
    return RunState::kPrepared;
  }
  void enter(const PairBook&) override {}
  void fence() override { notes.of.push_back("fence"); }
  void retire() override { notes.of.push_back("retire"); }
  [[nodiscard]] const char* name() const override { return "noted"; }
  Notes& notes;
};

// Of one member: every op commits at once. Who ran the last one, and how.
struct LonePlane : NotedPlane {
  using NotedPlane::NotedPlane;
  RunResult run(ExecOp&, ExecContext& context) override {
    by = std::this_thread::get_id(), glance = context.glance;
    return context.glance && !there ? RunState::kStopped : RunState::kPrepared;
  }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext&) override {
    counter.observe(0, op);
    return RunState::kPrepared;
  }
  [[nodiscard]] bool brief(const ExecOp&) const override { return is_brief; }
  std::atomic<bool> is_brief{false}, there{true};  // there: what peers have to do is done
  std::atomic<std::thread::id> by;
  std::atomic<bool> glance{false};
};

struct NotedHost : EngineHost {
  explicit NotedHost(Notes& notes) : notes(notes) {}
  void post(MemberInput) override {}
  void check_peers() override {}
  Result<std::shared_ptr<Plane>> open_plane(const Decision& d, std::size_t, std::size_t&) override {
    opened = d.view.epoch;
    if (lone) return lone;
    return std::shared_ptr<Plane>(std::make_shared<NotedPlane>(notes));
  }
  std::shared_ptr<Plane> lone;  // of a group of one
  void incarnation_over() override {}
  void withdrawn() override {}
  void settled(const OpState&, const Result<Outcome>&, std::uint64_t) override { notes.of.push_back("settled"); }
  void state_restored() override {}
  Notes& notes;
  std::atomic<Epoch> opened{0};  // the last one
};

Decision decision(Epoch epoch, OpId trim, std::uint32_t members) {
  Decision d;
  d.view.epoch = epoch;
  d.prev = epoch - 1;
  d.trim = d.high = trim;
  for (std::uint32_t i = 0; i < members; ++i) d.view.members.push_back({{i, 0}, {1, i + 1}, 1, ""});
  return d;
}

struct World {
  Notes notes;
  Options options;
  NotedHost host{notes};
  FlightRecorder recorder{64};
  Failpoints failpoints;
  Engine engine{options, host, recorder, failpoints};

  // An op that is prepared in epoch 1, and that nobody else is prepared for.
  OpPtr prepared_op() {
    engine.order_install(decision(1, 0, 2), 0);
    ExecOp call;
    call.desc.kind = OpKind::kAllReduce;
    call.desc.count = 1;
    OpPtr op = engine.submit(std::move(call));
    CHECK(engine.wait(op, now() + Duration::from_ms(20)).code() == Code::kTimeout);
    for (const Instant bound = now() + Duration::from_s(20); !notes.prepared && now() < bound;)
      std::this_thread::yield();
    REQUIRE(notes.prepared);
    return op;
  }
};

}  // namespace

TEST_CASE("an epoch is retired before an op of it is committed by the decision that ended it") {
  World world;
  const OpPtr op = world.prepared_op();
  world.engine.order_freeze(1);
  world.engine.order_install(decision(2, 1, 1), 0);
  REQUIRE(world.engine.wait(op, now() + Duration::from_s(20)).ok());
  world.engine.close(Code::kClosed, "", true);
  CHECK(world.notes.of == std::vector<std::string>{"fence", "fence", "retire", "copy_out", "gone", "settled"});
}

TEST_CASE("the memory of an epoch is gone before an op of it goes back to a caller whose member is out") {
  World world;
  const OpPtr op = world.prepared_op();
  world.engine.order_freeze(1);
  world.engine.order_end(Code::kClosed, "left out");
  CHECK(world.engine.wait(op, now() + Duration::from_s(20)).code() == Code::kClosed);
  CHECK(world.notes.of == std::vector<std::string>{"fence", "gone"});
}

namespace {

struct LoneWorld : World {
  std::shared_ptr<LonePlane> plane = std::make_shared<LonePlane>(notes);
  LoneWorld() {
    host.lone = plane;
    engine.order_install(decision(1, 0, 1), 0);
    REQUIRE(engine.execute(call(), now() + Duration::from_s(20)).ok());  // the plane is open
  }
  ~LoneWorld() { engine.close(Code::kClosed, "", true); }
  static ExecOp call() {
    ExecOp op;
    op.desc.kind = OpKind::kAllReduce;
    op.desc.count = 1;
    return op;
  }
};

}  // namespace

TEST_CASE("a brief asynchronous op is begun by who submits it, and waited for by nobody there") {
  LoneWorld world;
  world.plane->is_brief = true;
  const OpPtr done = world.engine.submit(LoneWorld::call());
  CHECK(done->done.load() == 1);
  CHECK(world.plane->by.load() == std::this_thread::get_id());
  CHECK(world.plane->glance);

  world.plane->there = false;
  const OpPtr left = world.engine.submit(LoneWorld::call());  // the progress thread goes on with it
  for (const Instant bound = now() + Duration::from_s(20); left->done.load() == 0 && now() < bound;) std::this_thread::yield();
  CHECK(left->done.load() == 1);
  CHECK(world.plane->by.load() != std::this_thread::get_id());
  CHECK(!world.plane->glance);

  ExecOp large = LoneWorld::call();
  large.desc.count = 1 << 20;
  world.plane->there = true;
  const OpPtr begun = world.engine.submit(std::move(large));
  for (const Instant bound = now() + Duration::from_s(20); begun->done.load() == 0 && now() < bound;) std::this_thread::yield();
  CHECK(world.plane->by.load() != std::this_thread::get_id());
}

namespace {

// Of two. The first op, or message, goes on when it is told to; whoever drove ends with pump().
struct GatedPlane : NotedPlane {
  using NotedPlane::NotedPlane;
  RunResult run(ExecOp& op, ExecContext& context) override {
    at(op.id, context);
    return RunState::kPrepared;
  }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext&) override {
    for (std::size_t member : {0u, 1u}) counter.observe(member, op);
    return RunState::kPrepared;
  }
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override {
    const bool again = last != 0;
    at(messages.back()->number, context);
    return again ? NotedPlane::exchange(messages, context) : RunState::kStopped;  // another was posted
  }
  bool pump() override { return ++pumps, false; }
  void at(OpId number, ExecContext& context) {
    last = number;
    while (!go && !context.should_stop()) std::this_thread::yield();
  }
  std::atomic<OpId> last{0};
  std::atomic<bool> go{false};
  std::atomic<int> pumps{0};
};

bool comes(const std::function<bool()>& holds) {
  for (const Instant bound = now() + Duration::from_s(20); !holds() && now() < bound;) std::this_thread::yield();
  return holds();
}

}  // namespace

TEST_CASE("an op is begun by nobody while its submitter stands at after_submit, whoever drives what is ahead of it") {
  const bool message = GENERATE(false, true);
  CAPTURE(message);
  World world;
  const auto plane = std::make_shared<GatedPlane>(world.notes);
  world.host.lone = plane;
  REQUIRE(world.failpoints.arm("after_submit#2=call"));
  bool over = false, early = true;
  world.failpoints.set_hook([&](Point) {
    const int pumps = plane->pumps;
    plane->go = true;
    over = comes([&] { return plane->last == 2 || plane->pumps != pumps; });
    early = plane->last == 2;
  });
  world.engine.order_install(decision(1, 0, 2), 0);
  const auto submit = [&] {
    ExecOp call = LoneWorld::call();
    if (message) {
      call.message = std::make_shared<PairMessage>();
      call.message->send = true;
      call.message->peer = {1, 0};
      call.message->seen_epoch = 1;
    }
    return world.engine.submit(std::move(call));
  };
  const OpPtr first = submit();
  CHECK(comes([&] { return plane->last == 1; }));  // the progress thread is at it
  const OpPtr second = submit();
  CHECK(over);
  CHECK(!early);
  CHECK(world.engine.wait(first, now() + Duration::from_s(20)).ok());
  CHECK(comes([&] { return second->done.load() != 0; }));  // left alone no longer, though nobody waits for it
  world.engine.close(Code::kClosed, "", true);
}

TEST_CASE("who has settled a message opens the next epoch though nothing is pending: the receiver may wait for its word") {
  const bool sends = GENERATE(true, false);
  World world;
  world.engine.order_install(decision(1, 0, 3), 0);
  const auto opened = [&](Epoch epoch) {
    const Instant bound = now() + Duration::from_s(sends ? 20 : 0);
    while (world.host.opened < epoch && now() < bound) std::this_thread::yield();
    return world.host.opened == epoch;
  };
  if (sends) {
    ExecOp call;
    call.message = std::make_shared<PairMessage>();
    call.message->send = true;
    call.message->peer = {1, 0};
    call.message->seen_epoch = 1;
    REQUIRE(world.engine.wait(world.engine.submit(std::move(call)), now() + Duration::from_s(20)).ok());
    REQUIRE(world.host.opened == 1);
  }
  world.engine.order_freeze(1);
  world.engine.order_install(decision(2, 0, 2), 0);
  CHECK(opened(2) == sends);
  world.engine.close(Code::kClosed, "", true);
}
