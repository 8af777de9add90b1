#include "runtime/exec/device_plane.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/check.h"
#include "kernels/launches.h"
#include "runtime/exec/device_common.h"
#include "runtime/exec/shm_common.h"
#include "transport/wire/address.h"

namespace regroup {

using namespace device_detail;  // NOLINT: what a device carries out
using namespace shm_detail;  // NOLINT: descriptors and ends of a run, as shared memory has them

namespace {

constexpr int kSpins = 200;  // looks before the thread sleeps between them
constexpr auto kNap = std::chrono::microseconds(20);
constexpr Duration kAsk = Duration::from_us(500);  // how often the host is asked for deaths

// Until `done`, which says what ended it; else why the wait did.
template <class Done>
RunResult wait(ExecContext& context, Done done) {
  Instant asked = now();
  for (int turns = 0;; ++turns) {
    if (context.should_stop()) return RunState::kStopped;
    if (std::optional<RunResult> end = done()) return *end;
    if (context.glance) return RunState::kStopped;
    if (turns < kSpins)
      ::sched_yield();
    else
      std::this_thread::sleep_for(kNap);
    const Instant at = now();
    if (!context.deadline.is_never() && at >= context.deadline) return RunState::kStopped;
    if (at - asked < kAsk) continue;
    asked = at;
    context.check_peers();
  }
}

}  // namespace

Result<std::unique_ptr<DeviceSeat>> DeviceSeat::make(std::shared_ptr<device::Device> device, shm::Domain& domain,
                                                     DeviceRank::Config config) {
  auto seat = std::make_unique<DeviceSeat>();
  Result<std::unique_ptr<DeviceRank>> rank = DeviceRank::make(std::move(device), config);
  if (!rank) return rank.error();
  const std::uint32_t window = domain.words().window;
  Result<shm::OwnedPtr> segment = domain.make("device board", DeviceBoard::bytes(window));
  if (!segment) return segment.error();
  seat->rank = std::move(*rank);
  seat->segment = std::move(*segment);
  seat->board = &DeviceBoard::make(seat->segment->memory.data(), window);
  domain.words().device_board.store(seat->segment->id, std::memory_order_release);
  return seat;
}

Result<std::unique_ptr<DevicePlane>> DevicePlane::open(std::unique_ptr<Plane> base, DeviceSeat& seat, shm::Domain& domain, bool shared,
                                                       const View& view, std::size_t self, std::size_t& bad_peer) {
  std::unique_ptr<DevicePlane> plane(new DevicePlane(std::move(base), seat, view, self));
  std::vector<Incarnation> members;
  for (const MemberInfo& m : view.members) members.push_back(m.inc);
  seat.rank->imports().keep(members);
  if (!shared || members.size() > device::kMaxSources) {
    seat.open.store(false);
    return plane;
  }
  std::vector<Peer> peers(members.size());
  bool all = true;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i == self) {
      peers[i].board = seat.board;
      continue;
    }
    bad_peer = i;
    Result<wire::MemberAddress> address = wire::decode_address(view.members[i].address);
    if (!address) return address.error();
    peers[i].memory = domain.peer(members[i], address->segment_socket);
    Result<const shm::Mapping*> words = peers[i].memory->map(shm::kWordsSegment);
    if (!words) return words.error();
    const std::uint32_t segment = reinterpret_cast<const shm::WordsPage*>((*words)->data())->device_board.load(std::memory_order_acquire);
    if (segment == 0) {  // it said so before it was in any view, so to all of us alike
      all = false;
      continue;
    }
    Result<const shm::Mapping*> mapped = peers[i].memory->map(segment);
    if (!mapped) return mapped.error();
    peers[i].board = reinterpret_cast<const DeviceBoard*>((*mapped)->data());
    if ((*mapped)->size() < DeviceBoard::bytes(seat.board->window) || peers[i].board->window != seat.board->window)
      return {Code::kRefused, "device board of member " + to_string(view.members[i].id) + " is not the expected one"};
  }
  if (all) plane->peers_ = std::move(peers);
  seat.open.store(all);
  return plane;
}

DevicePlane::DevicePlane(std::unique_ptr<Plane> base, DeviceSeat& seat, const View& view, std::size_t self)
    : base_(std::move(base)), seat_(seat), view_(view), self_(self), flights_(seat.board->window) {}

void DeviceSeat::expect(const OpDesc& desc, const ViewInfo& view) {
  const std::optional<std::size_t> root = root_of(desc, view);
  if (!takes(desc) || !root) return;
  algo::make_plan({desc, view.size(), view.self, *root, nullptr, algo::Spread::kRoot, nullptr}, plan);
  (void)rank->reserve(plan.placed_bytes[view.self]).ok();
}

RunResult DevicePlane::run(ExecOp& op, ExecContext& context) {
  Flight& f = flight(op.id);
  if (f.id != op.id) f = {op.id, Phase::kNone, false};
  if (f.phase == Phase::kNone) {
    // Of every op: who took one for another would wait elsewhere.
    if (!peers_.empty())
      if (RunResult r = say(op); r.state != RunState::kPrepared) return r;
    f.phase = peers_.empty() ? Phase::kHere : Phase::kSaid;
  }
  if (f.phase == Phase::kSaid)
    if (RunResult r = meet(f, op, context); r.state != RunState::kPrepared) return r;
  if (f.phase == Phase::kThere) return watch(f, op, context);
  if (f.phase == Phase::kPrepared) return RunState::kPrepared;
  return run_here(op, context);
}

RunResult DevicePlane::run_here(ExecOp& op, ExecContext& context) {
  if (op.stage) {
    RunResult copied = wait(context, [&]() -> std::optional<RunResult> {
      const Result<bool> here = op.stage->here();
      if (!here) return lost(here.error());
      return *here ? std::optional<RunResult>(RunState::kPrepared) : std::nullopt;
    });
    if (copied.state != RunState::kPrepared) return copied;
  }
  return base_->run(op, context);
}

// Where my buffers lie, to all.
RunResult DevicePlane::say(const ExecOp& op) {
  DeviceLine& line = seat_.board->line(op.id);
  const bool taken = op.stage && takes(op.desc);
  const Stage::There there = taken ? op.stage->there() : Stage::There{};
  if (taken) algo::make_plan({op.desc, peers_.size(), self_, op.root_index, nullptr, algo::Spread::kRoot, nullptr}, plan_);
  const bool barred = std::any_of(view_.members.begin(), view_.members.end(), [&](const MemberInfo& m) { return seat_.closed.contains(m.inc); });
  line.ready.store(0, std::memory_order_relaxed);  // who still reads what I said in an epoch before sees that it changes
  full_fence();
  line.there = 0;
  if (there.result != nullptr && there.result_bytes >= plan_.output_bytes && !barred) {
    device::Loan input, scratch;
    bool lent = true;
    const auto lend = [&](const void* memory, device::Loan& loan) {
      Result<device::Loan> made = seat_.rank->device().lend(memory);
      if (made) loan = *made;
      lent = lent && made.ok();
    };
    if (plan_.input_bytes != 0) lend(there.in, input);
    if (plan_.placed_bytes[self_] != 0) {
      Result<std::byte*> memory = seat_.rank->reserve(plan_.placed_bytes[self_]);
      scratch_ = memory ? *memory : nullptr;
      if (memory) lend(scratch_, scratch);
      lent = lent && memory.ok();
    }
    if (Status s = seat_.rank->device().health(); !s) return lost(s.error());
    line.input = input;
    line.scratch = scratch;
    line.there = lent ? 1 : 0;
  }
  put_desc(line.desc, op.desc);
  line.placed.store(0, std::memory_order_relaxed);
  line.ready.store(shm::make_tag(view_.epoch, op.id), std::memory_order_release);
  return RunState::kPrepared;
}

// Until all have said where theirs lie.
RunResult DevicePlane::meet(Flight& f, const ExecOp& op, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(view_.epoch, op.id);
  std::size_t met = 0;
  RunResult all = wait(context, [&]() -> std::optional<RunResult> {
    for (; met < peers_.size(); ++met) {
      const DeviceLine& line = peers_[met].board->line(op.id);
      if (line.ready.load(std::memory_order_acquire) != tag) return std::nullopt;
      if (!same_desc(line.desc, op.desc)) return mismatch(met, line.desc, op.desc);
    }
    return RunState::kPrepared;
  });
  if (all.state != RunState::kPrepared) return all;
  const bool there = std::all_of(peers_.begin(), peers_.end(), [&](const Peer& p) { return p.board->line(op.id).there != 0; });
  if (there)
    if (RunResult r = begin(op); r.state != RunState::kPrepared) return r;
  f.phase = there ? Phase::kThere : Phase::kHere;
  return RunState::kPrepared;
}

// Opens what I shall read.
RunResult DevicePlane::begin(const ExecOp& op) {
  const Stage::There there = op.stage->there();
  algo::make_plan({op.desc, peers_.size(), self_, op.root_index, nullptr, algo::Spread::kRoot, nullptr}, plan_);
  DeviceRank::Job job;
  job.desc = op.desc;
  job.plan = &plan_;
  job.self = self_;
  job.epoch = view_.epoch;
  job.peers.resize(peers_.size());
  job.placed = &seat_.board->line(op.id).placed;
  job.result = there.result;
  const shm::Tag tag = shm::make_tag(view_.epoch, op.id);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const DeviceLine& line = peers_[i].board->line(op.id);
    const device::Loan input = line.input, scratch = line.scratch;
    read_fence();
    if (line.ready.load(std::memory_order_acquire) != tag) return RunState::kStopped;  // it is in a later epoch: so shall I be
    DeviceRank::Peer& peer = job.peers[i];
    peer.placed = &line.placed;
    if (i == self_) {
      peer.input = static_cast<const std::byte*>(there.in);
      peer.scratch = scratch_;
      continue;
    }
    std::size_t reads = 0;
    for (const algo::Piece& p : plan_.place)
      if (p.bytes != 0 && (p.fold || p.from == i)) reads = std::max(reads, p.at + p.bytes);
    const algo::Take& take = plan_.takes[i];
    const auto open = [&](const device::Loan& loan, std::size_t bytes, const std::byte*& at) -> Status {
      if (bytes == 0) return {};
      Result<const std::byte*> opened = seat_.rank->imports().at(view_.members[i].inc, loan, bytes);
      if (opened) at = *opened;
      return opened ? Status{} : Status{opened.error()};
    };
    Status opened = open(input, reads, peer.input);
    if (opened) opened = open(scratch, take.bytes == 0 ? 0 : take.at + take.bytes, peer.scratch);
    if (opened) continue;
    if (Status s = seat_.rank->device().health(); !s) return lost(s.error());
    seat_.closed.insert(view_.members[i].inc);
    return broken(i, opened.error().detail, false);
  }
  op.stage->read_by(seat_.rank->reader(), false);
  seat_.rank->start(std::move(job));
  return RunState::kPrepared;
}

RunResult DevicePlane::watch(Flight& f, ExecOp& op, ExecContext& context) {
  RunResult result = wait(context, [&]() -> std::optional<RunResult> {
    const Result<bool> done = seat_.rank->turn();
    if (!done) return lost(done.error());
    if (!std::exchange(f.begun, true)) {
      context.failpoints->hit(Point::kAfterFirstChunk);
      if (context.should_stop()) return RunState::kStopped;
    }
    return *done ? std::optional<RunResult>(RunState::kPrepared) : std::nullopt;
  });
  if (result.state != RunState::kPrepared) return result;
  if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
  context.failpoints->hit(Point::kAfterPlaced);
  if (context.should_stop()) return RunState::kStopped;
  op.plan = "device";
  f.phase = Phase::kPrepared;
  return RunState::kPrepared;
}

std::optional<std::size_t> DevicePlane::withdrawn_peer() const {
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && peers_[i].board->withdrawn.load(std::memory_order_acquire) > view_.epoch) return i;
  return std::nullopt;
}

void DevicePlane::copy_out(ExecOp& op) {
  const Flight& f = flight(op.id);
  if (f.id == op.id && f.phase == Phase::kPrepared) return op.stage->made_there();
  base_->copy_out(op);
}

void DevicePlane::withdraw() {
  seat_.board->withdrawn.store(shm::kAllEpochs, std::memory_order_seq_cst);
  base_->withdraw();
}

}  // namespace regroup
