#include "runtime/exec/device_ranks.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/launches.h"

namespace regroup {
namespace {

constexpr Duration kPatience = Duration::from_s(10);  // for a copy-out that is queued on a caller's stream

}  // namespace

Result<std::unique_ptr<DeviceBoard>> DeviceBoard::make(device::Device& device, std::size_t ranks) {
  auto board = std::make_unique<DeviceBoard>();
  for (std::size_t i = 0; i < ranks; ++i) {
    auto rank = std::make_unique<Rank>();
    for (device::Flag* flag : {&rank->ready, &rank->placed, &rank->prepared}) {
      Result<device::Flag> made = device.make_flag();
      if (!made) return made.error();
      *flag = *made;
    }
    board->ranks_.push_back(std::move(rank));
  }
  return board;
}

DeviceRank::DeviceRank(device::Device& device, DeviceBoard& board, std::size_t self, Config config)
    : device_(device),
      board_(board),
      self_(self),
      config_(config),
      placed_before_(board.size(), 0),
      chunks_(board.size(), 0),
      fetched_(board.size(), 0) {
  config_.chunk_bytes = std::max<std::size_t>(config_.chunk_bytes / 8 * 8, 8);  // whole elements
}

Result<std::unique_ptr<DeviceRank>> DeviceRank::make(device::Device& device, DeviceBoard& board, std::size_t self,
                                                     Config config) {
  if (board.size() > device::kMaxSources) return {Code::kUnsupported, "a device is shared by at most 32 ranks"};
  std::unique_ptr<DeviceRank> rank(new DeviceRank(device, board, self, config));
  if (Status s = rank->open(); !s) return s.error();
  return rank;
}

Status DeviceRank::open() {
  for (auto* stream : {&fold_, &fetch_}) {
    auto made = device_.make_stream();
    if (!made) return made.error();
    *stream = std::move(made).value();
  }
  for (auto* event : {&begun_, &out_done_}) {
    auto made = device_.make_event();
    if (!made) return made.error();
    *event = std::move(made).value();
  }
  for (device::Flag* flag : {&decided_, &verdict_}) {
    Result<device::Flag> made = device_.make_flag();
    if (!made) return made.error();
    *flag = *made;
  }
  return {};
}

DeviceRank::~DeviceRank() {
  fold_.reset();
  fetch_.reset();
  for (const Buffer& b : {scratch_, staging_})
    if (b.at != nullptr) device_.free(device::Memory::kDevice, b.at);
}

// Who grows has settled its last op, and so has everybody that read of it; the caller's stream may still copy out of
// staging.
Status DeviceRank::grow(Buffer& buffer, std::size_t bytes) {
  if (buffer.bytes >= bytes) return {};
  Result<void*> memory = device_.allocate(device::Memory::kDevice, bytes);
  if (!memory) return memory.error();
  if (buffer.at != nullptr) {
    if (Status done = fetch_->finish(now() + kPatience); !done)
      return device_.free(device::Memory::kDevice, *memory), done;
    device_.free(device::Memory::kDevice, buffer.at);
  }
  buffer = {static_cast<std::byte*>(*memory), bytes};
  return {};
}

Status DeviceRank::start(std::uint32_t number, const OpDesc& desc, std::size_t root, const void* in, void* out,
                         device::Stream& caller) {
  RG_CHECK(settled_ && number > op_);
  if (over_) return {Code::kClosed, "an op of this view was not committed: its board is over"};
  if (desc.told() || desc.kind == OpKind::kAllGatherV || desc.kind == OpKind::kReduceScatterV || desc.scaled())
    return {Code::kUnsupported, std::string(name_of(desc.kind)) + " is not carried out on a device"};
  algo::make_plan({desc, board_.size(), self_, root, nullptr, algo::Spread::kRoot, nullptr}, plan_);
  if (plan_.input_bytes != 0)
    if (Result<device::Memory> kind = device_.kind_of(in); !kind)
      return {Code::kInvalid, "the input is no memory of " + std::string(device_.name())};
  if (plan_.output_bytes != 0)
    if (Result<device::Memory> kind = device_.kind_of(out); !kind)
      return {Code::kInvalid, "the output is no memory of " + std::string(device_.name())};
  if (staging_.at != nullptr && staging_.bytes < plan_.output_bytes)
    if (Status s = fetch_->wait(*out_done_); !s) return s;
  for (auto [buffer, bytes] : {std::pair{&scratch_, plan_.placed_bytes[self_]}, {&staging_, plan_.output_bytes}})
    if (Status s = grow(*buffer, bytes); !s) return s;
  for (std::size_t i = 0; i < board_.size(); ++i) {
    if (op_ != 0) placed_before_[i] += chunks_[i];
    chunks_[i] = chunks_of(plan_.placed_bytes[i]);
    fetched_[i] = 0;
  }
  op_ = number;
  desc_ = desc;
  folded_ = 0;
  prepared_queued_ = settled_ = false;
  DeviceBoard::Rank& mine = board_.at(self_);
  mine.input.store(static_cast<const std::byte*>(in));
  mine.scratch.store(scratch_.at);
  const device::Copy copy{out, staging_.at, plan_.output_bytes, verdict_.word, op_};
  // The order matters: the last op's copy-out is before this one's fetches, which write the same staging.
  for (const Status& s : {fetch_->wait(*out_done_), caller.record(*begun_), fold_->wait(*begun_),
                          fold_->raise(mine.ready, op_), caller.wait(decided_, op_),
                          caller.launch(device::launch_of(copy, config_.ctas)), caller.record(*out_done_)})
    if (!s) return s;
  return {};
}

// My own: chunk by chunk, a few ahead of the device.
Status DeviceRank::fold_some() {
  const std::uint32_t mine = chunks_of(plan_.placed_bytes[self_]),
                      done = board_.at(self_).placed.value() - placed_before_[self_];
  while (folded_ < mine && folded_ - done < config_.ahead) {
    const std::size_t begin = folded_ * config_.chunk_bytes,
                      end = std::min(begin + config_.chunk_bytes, plan_.placed_bytes[self_]);
    for (const algo::Piece& piece : plan_.place) {
      const std::size_t from = std::max(begin, piece.to), to = std::min(end, piece.to + piece.bytes);
      if (from >= to) continue;
      device::Reduce f{desc_.type, desc_.reduce, 1, 0, (to - from) / size_of(desc_.type), {scratch_.at + from}, {}};
      for (std::size_t r = 0; r < board_.size(); ++r)
        if (piece.fold || piece.from == r)
          f.from[f.sources++] = board_.at(r).input.load() + piece.at + (from - piece.to);
      if (Status s = fold_->launch(device::launch_of(f, config_.ctas)); !s) return s;
    }
    if (Status s = fold_->raise(board_.at(self_).placed, placed_before_[self_] + ++folded_); !s) return s;
  }
  return {};
}

// Everybody's, as far as it stands.
Status DeviceRank::fetch_some() {
  bool all = true;
  for (std::size_t r = 0; r < board_.size(); ++r) {
    const algo::Take& take = plan_.takes[r];
    const std::uint32_t chunks = board_.at(r).placed.value() - placed_before_[r];
    const std::size_t stands = std::min<std::size_t>(std::size_t{chunks} * config_.chunk_bytes, plan_.placed_bytes[r]);
    const std::size_t reach = std::min(take.bytes, stands > take.at ? stands - take.at : 0);
    if (reach > fetched_[r]) {
      const std::byte* from = board_.at(r).scratch.load() + take.at + fetched_[r];
      if (Status s = fetch_->copy(staging_.at + take.to + fetched_[r], from, reach - fetched_[r]); !s) return s;
      fetched_[r] = reach;
    }
    // Prepared only when all stands, whatever of it is mine: until then somebody may still read inputs.
    all = all && fetched_[r] == take.bytes && stands == plan_.placed_bytes[r];
  }
  if (!all || prepared_queued_) return {};
  prepared_queued_ = true;
  return fetch_->raise(board_.at(self_).prepared, op_);
}

Result<bool> DeviceRank::turn() {
  if (Status s = device_.health(); !s) return s.error();
  if (settled_) return true;
  for (std::size_t r = 0; r < board_.size(); ++r)
    if (board_.at(r).ready.value() < op_) return false;
  if (Status s = fold_some(); !s) return s.error();
  if (Status s = fetch_some(); !s) return s.error();
  return board_.at(self_).prepared.value() >= op_;
}

bool DeviceRank::prepared_by_all() const {
  for (std::size_t r = 0; r < board_.size(); ++r)
    if (board_.at(r).prepared.value() < op_) return false;
  return true;
}

void DeviceRank::settle(bool commit) {
  RG_CHECK(!settled_);
  settled_ = true;
  over_ = !commit;
  if (commit) verdict_.raise(op_);
  decided_.raise(op_);
}

}  // namespace regroup
