#include "runtime/exec/hybrid_plane.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "kernels/kernels.h"

namespace regroup {
namespace {

OpId fold_number(OpId op) { return 2 * op; }
OpId spread_number(OpId op) { return 2 * op + 1; }

}  // namespace

Result<std::unique_ptr<HybridPlane>> HybridPlane::open(Host host, tcp::LinkSet& links, NetStaging& staging,
                                                       const View& view, std::size_t self, NetPlane::Config config,
                                                       std::size_t& bad_peer) {
  const std::vector<std::uint32_t>& hosts = config.rules.hosts;
  RG_CHECK(hosts.size() == view.members.size());
  View mine = view;
  mine.members.clear();
  std::vector<std::size_t> local;
  std::size_t place = 0;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i] != hosts[self]) continue;
    if (i == self) place = local.size();
    local.push_back(i);
    mine.members.push_back(view.members[i]);
  }
  host.staging.holds = 0;  // the numbers of another epoch may have been given anew
  std::unique_ptr<ShmPlane> shm;
  if (local.size() > 1) {
    std::size_t bad = place;
    Result<std::unique_ptr<ShmPlane>> opened =
        ShmPlane::open(*host.domain, host.staging, *host.pairs, mine, place, bad, host.slots);
    bad_peer = local[bad];
    if (!opened) return opened.error();
    shm = std::move(*opened);
  }
  algo::Rules rules = config.rules;
  Result<std::unique_ptr<NetPlane>> net = NetPlane::open(links, staging, view, self, std::move(config));
  if (!net) return net.error();
  return std::unique_ptr<HybridPlane>(new HybridPlane(std::move(*net), std::move(shm), staging, view.members.size(),
                                                      std::move(rules), std::move(local), place == 0));
}

HybridPlane::HybridPlane(std::unique_ptr<NetPlane> net, std::unique_ptr<ShmPlane> shm, NetStaging& staging,
                         std::size_t members, algo::Rules rules, std::vector<std::size_t> local, bool leads)
    : net_(std::move(net)),
      shm_(std::move(shm)),
      staging_(staging),
      members_(members),
      rules_(std::move(rules)),
      local_(std::move(local)),
      leads_(leads) {}

HybridPlane::~HybridPlane() {
  for (Flight& f : flights_) staging_.give(std::move(f.sum));
}

HybridPlane::Flight* HybridPlane::flight(OpId op) {
  const auto at = std::find_if(flights_.begin(), flights_.end(), [&](const Flight& f) { return f.id == op; });
  return at == flights_.end() ? nullptr : &*at;
}

bool HybridPlane::hierarchical(const ExecOp& op) {
  if (!algo::has_form(algo::Form::kHierarchical, op.desc)) return false;
  algo::Plan plan;  // of an all-reduce: what the choice looks at is the same at every member
  plan.input_bytes = plan.output_bytes = plan.largest_bytes = op.desc.bytes();
  return algo::choose(op.desc, plan, members_, rules_) == algo::Form::kHierarchical;
}

RunResult HybridPlane::begin(const ExecOp& op) {
  Flight f;
  f.id = op.id;
  f.fold.id = fold_number(op.id);
  f.fold.desc = op.desc;
  f.fold.desc.root = 1 + static_cast<std::uint32_t>(op.desc.reduce);  // an average is folded as a sum, but no sum is one
  if (op.desc.reduce == ReduceOp::kAvg) f.fold.desc.reduce = ReduceOp::kSum;
  f.fold.in = op.in;
  f.fold.scalar = op.scalar;
  f.across = op;
  f.spread.id = spread_number(op.id);
  f.spread.desc = op.desc;
  f.spread.desc.kind = OpKind::kBroadcast;
  f.spread.desc.flags = static_cast<std::uint8_t>(op.desc.flags & OpDesc::kMark);
  f.fold.desc.flags = static_cast<std::uint8_t>(op.desc.flags & (OpDesc::kMark | OpDesc::kScaled));
  const bool scaled = op.desc.scaled();
  f.across.desc.root = op.desc.flags;  // to be compared, not to be done: my host's inputs are scaled already
  f.across.desc.flags = f.spread.desc.flags;
  if (leads_ && (shm_ || scaled)) {
    f.sum = staging_.take(op.desc.bytes());
    if (!f.sum.memory) {
      RunResult result(RunState::kNoMemory);
      result.detail = "an op of " + std::to_string(op.desc.bytes()) + " bytes found no memory";
      return result;
    }
    f.across.in = f.fold.out = f.sum.memory.get();
    if (!shm_) kernels::scale(op.desc.type, f.sum.memory.get(), op.in, op.scalar.data(), op.desc.count);
  }
  f.phase = shm_ ? Phase::kDeclare : Phase::kAcross;
  flights_.push_back(std::move(f));
  return RunState::kPrepared;
}

RunResult HybridPlane::run(ExecOp& op, ExecContext& context) {
  Flight* f = flight(op.id);
  if (f == nullptr) {
    if (!hierarchical(op)) return net_->run(op, context);
    if (RunResult r = begin(op); r.state != RunState::kPrepared) return r;
    f = &flights_.back();
  }
  op.plan = algo::name_of(algo::Form::kHierarchical);
  ExecContext serving = context;
  std::optional<RunResult> found;  // on the links, while we wait on the host
  serving.check_peers = [&] {
    found = net_->serve();
    if (found) serving.deadline = Instant{};
    context.check_peers();
  };
  while (f->phase != Phase::kDone) {
    serving.failpoints = context.failpoints;
    if (RunResult r = step(*f, serving); r.state != RunState::kPrepared) return found ? *found : r;
  }
  return RunState::kPrepared;
}

RunResult HybridPlane::step(Flight& f, ExecContext& context) {
  RunResult result(RunState::kPrepared);
  if (shm_ && f.phase != Phase::kFold) context.failpoints = &unarmed_;  // each is hit once an op: in the fold
  switch (f.phase) {
    case Phase::kDeclare:
      result = net_->declare(f.across, context);
      if (result.state == RunState::kPrepared) f.phase = Phase::kFold;
      return result;
    case Phase::kFold:
      result = on_host(f.fold, context);
      if (result.state != RunState::kPrepared) return result;
      if (leads_) shm_->copy_out(f.fold);
      f.phase = leads_ ? Phase::kAcross : Phase::kSpread;
      return result;
    case Phase::kAcross:
      result = net_->run(f.across, context);
      if (result.state != RunState::kPrepared) return result;
      f.spread.in = net_->output_of(f.id);
      f.phase = shm_ ? Phase::kSpread : Phase::kDone;
      return result;
    case Phase::kSpread:
      result = on_host(f.spread, context);
      if (result.state == RunState::kPrepared) f.phase = Phase::kDone;
      return result;
    case Phase::kDone: break;
  }
  return result;
}

// An op of my host's view; peers are named by their place in the whole one.
RunResult HybridPlane::on_host(ExecOp& op, ExecContext& context) {
  RunResult result = shm_->run(op, context);
  result.other = local_[std::min(result.other, local_.size() - 1)];
  for (std::size_t& other : result.others) other = local_[other];
  return result;
}

void HybridPlane::copy_out(ExecOp& op) {
  Flight* f = flight(op.id);
  if (f == nullptr || !shm_ || leads_) return net_->copy_out(op);  // who places a block takes none of it
  RG_CHECK(f->phase == Phase::kDone);
  f->spread.out = op.out;
  shm_->copy_out(f->spread);
}

void HybridPlane::release(OpId op) {
  if (Flight* f = flight(op)) {
    if (shm_) shm_->release(spread_number(op));  // and so the fold's
    staging_.give(std::move(f->sum));
    std::erase_if(flights_, [&](const Flight& other) { return other.id == op; });
  }
  net_->release(op);
}

void HybridPlane::withdraw() {
  if (shm_) shm_->withdraw();
  net_->withdraw();
}

}  // namespace regroup
