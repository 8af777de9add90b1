// NetPlane over loopback, members as threads: members that would carry an op out in different ways never exchange its
// bytes; it ends as a mismatch, not as a hang or garbage. And what each form makes is right.
#include "runtime/exec/net_plane.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "transport/wire/address.h"

using namespace regroup;

namespace {

// Nothing but sockets; bytes may come late, or not.
struct PlainLanes final : tcp::Lanes {
  explicit PlainLanes(bool late) : late_(late) {}
  std::unique_ptr<tcp::Conn> attach(std::unique_ptr<tcp::Conn> socket) override { return socket; }
  void begin(Epoch) override {}
  void end() override {}
  bool progress() override { return false; }
  [[nodiscard]] int fd() const override { return -1; }
  [[nodiscard]] bool arm() override { return true; }
  [[nodiscard]] tcp::Reach reach() const override { return tcp::Reach::kNone; }
  [[nodiscard]] bool late() const override { return late_; }
  void keep(std::shared_ptr<void> memory) override { kept.push_back(std::move(memory)); }
  [[nodiscard]] const char* name() const override { return "plain"; }
  std::vector<std::shared_ptr<void>> kept;
  const bool late_;
};

struct Ending {
  RunState state = RunState::kStopped;
  bool right = false;
};

// Every member runs one all-reduce of `count` in its form; whoever finds a difference stops all, as a decision would.
std::vector<Ending> run(const std::vector<algo::Form>& forms, std::size_t count, const std::vector<std::shared_ptr<PlainLanes>>& lanes = {}) {
  const std::size_t n = forms.size();
  std::vector<std::unique_ptr<tcp::LinkSet>> links(n);
  View view;
  view.epoch = 1;
  for (std::size_t i = 0; i < n; ++i) {
    tcp::LinkOptions options;
    options.self = {"net_plane_test", "", {static_cast<std::uint32_t>(i), 0}, {i + 1, 7}};
    options.host = "127.0.0.1";
    if (!lanes.empty()) options.lanes = lanes[i];
    auto made = tcp::LinkSet::listen(options);
    REQUIRE(made.ok());
    links[i] = std::move(*made);
    wire::MemberAddress at;
    at.data_host = "127.0.0.1";
    at.data_port = links[i]->endpoint().port;
    view.members.push_back({options.self.id, options.self.inc, 0, wire::encode(at)});
  }
  std::vector<Ending> endings(n);
  std::atomic<std::uint32_t> stop{0};
  std::atomic<std::size_t> prepared{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      NetStaging staging;
      NetPlane::Config config;
      config.rules.form = forms[i];
      auto plane = NetPlane::open(*links[i], staging, view, i, config);
      std::vector<std::uint64_t> in(count), out(count);
      for (std::size_t k = 0; k < count; ++k) in[k] = (k % 15 + 1) << (4 * i);
      ExecOp op;
      op.id = 1;
      op.desc.kind = OpKind::kAllReduce;
      op.desc.type = DataType::kU64;
      op.desc.count = count;
      op.in = in.data();
      op.out = out.data();
      Failpoints failpoints;
      ExecContext context;
      context.stop = &stop;
      context.failpoints = &failpoints;
      context.check_peers = [] {};
      context.deadline = now() + Duration::from_s(20);
      endings[i].state = (*plane)->run(op, context).state;
      if (endings[i].state == RunState::kMismatch) stop.store(1);
      if (endings[i].state != RunState::kPrepared) return;
      ++prepared;
      while (prepared.load() < n && stop.load() == 0 && now() < context.deadline) (*plane)->pump();
      (*plane)->copy_out(op);
      endings[i].right = true;
      std::uint64_t ones = 0;
      for (std::size_t m = 0; m < n; ++m) ones += std::uint64_t{1} << (4 * m);
      for (std::size_t k = 0; k < count; ++k) endings[i].right = endings[i].right && out[k] == (k % 15 + 1) * ones;
    });
  for (std::thread& t : threads) t.join();
  return endings;
}

}  // namespace

TEST_CASE("every form over real links makes the sum of all members") {
  for (const algo::Form form : {algo::Form::kDirect, algo::Form::kRing, algo::Form::kDoubling, algo::Form::kGather})
    for (const std::size_t n : {2u, 3u, 5u})
      for (const std::size_t count : {1u, 1000u, 100'001u})
        for (const Ending& e : run(std::vector<algo::Form>(n, form), count)) {
          CAPTURE(name_of(form), n, count);
          CHECK(e.state == RunState::kPrepared);
          CHECK(e.right);
        }
}

TEST_CASE("memory that bytes may still come to when the epoch has ended is not used again by us") {
  for (const bool late : {false, true}) {
    std::vector<std::shared_ptr<PlainLanes>> lanes;
    for (int i = 0; i < 3; ++i) lanes.push_back(std::make_shared<PlainLanes>(late));
    for (const Ending& e : run(std::vector<algo::Form>(3, algo::Form::kDirect), 100'001, lanes)) CHECK(e.right);
    for (const auto& l : lanes) {
      std::erase(l->kept, nullptr);
      CHECK(l->kept.size() == (late ? 3 : 0));  // the output, and two peers' inputs
    }
  }
}

TEST_CASE("members that chose different forms find out before anybody is prepared by it") {
  const algo::Form forms[] = {algo::Form::kDirect, algo::Form::kSmall, algo::Form::kRing, algo::Form::kDoubling,
                              algo::Form::kGather};
  for (const algo::Form most : forms)
    for (const algo::Form odd : forms)
      for (const std::size_t n : {2u, 4u})
        for (std::size_t who = 0; who < n; who += n - 1)
          for (const std::size_t count : {100u, 20'000u}) {
            if (most == odd || (count > 4096 && (most == algo::Form::kSmall || odd == algo::Form::kSmall))) continue;
            std::vector<algo::Form> given(n, most);
            given[who] = odd;
            const auto endings = run(given, count);
            CAPTURE(name_of(most), name_of(odd), n, who, count);
            std::size_t found = 0, prepared = 0;
            for (const Ending& e : endings) {
              found += e.state == RunState::kMismatch;
              prepared += e.state == RunState::kPrepared;
            }
            CHECK(found >= 1);
            CHECK(prepared < n);  // so nobody commits
          }
}
