#include "runtime/exec/net_device.h"

#include <algorithm>
#include <utility>

namespace regroup {
namespace {

constexpr std::size_t kAlign = 256;
constexpr std::size_t kAhead = 4;  // chunks of a range that are summed and not sent to anybody

std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

const algo::Piece* foreign_of(const algo::Plan& plan, std::size_t self) {
  if (plan.place.empty()) return nullptr;
  const algo::Piece& piece = plan.place.front();
  return piece.bytes != 0 && (piece.fold || piece.from != self) ? &piece : nullptr;
}

std::size_t input_of(const algo::Piece* foreign, std::size_t peer) {
  return foreign != nullptr && (foreign->fold || foreign->from == peer) ? foreign->bytes : 0;
}

}  // namespace

std::size_t NetDevice::memory_for(const algo::Plan& plan, std::size_t self, std::size_t members) {
  const algo::Piece* foreign = foreign_of(plan, self);
  std::size_t bytes = foreign != nullptr ? aligned(foreign->bytes) : 0;
  for (std::size_t i = 0; i < members; ++i)
    if (i != self) bytes += aligned(input_of(foreign, i)) + aligned(plan.takes[i].bytes);
  return bytes;
}

std::shared_ptr<std::byte> NetDevice::drop() {
  port_->forget(this, memory_);
  job_ = {};
  return std::exchange(memory_, nullptr);
}

Status NetDevice::begin(Job job) {
  port_->forget(this, std::move(memory_));
  job_ = job;
  corrupt_.reset();
  peers_.assign(job_.members, {});
  ranges_.clear();
  came_.clear();
  if (const Result<bool> over = port_->turn(); !over) return over.error();  // lets go of memory
  Result<std::shared_ptr<std::byte>> memory = port_->take(memory_for(*job_.plan, job_.self, job_.members));
  if (!memory) return memory.error();
  memory_ = std::move(*memory);
  asked_ = made_ = own_ = 0;
  lay_out();
  return {};
}

// Where byte `at` of what I place lies: a copy of my own input is sent from there.
const std::byte* NetDevice::placed_at(std::size_t at) const {
  if (foreign_ != nullptr) return placed_ + at;
  for (const algo::Piece& piece : job_.plan->place)
    if (at >= piece.to && at < piece.to + piece.bytes) return job_.in + piece.at + (at - piece.to);
  return job_.in;
}

// What lies where.
void NetDevice::lay_out() {
  const algo::Plan& plan = *job_.plan;
  foreign_ = foreign_of(plan, job_.self);
  std::byte* at = memory_.get();
  const auto room = [&](std::size_t bytes) { return std::exchange(at, at + aligned(bytes)); };
  placed_bytes_ = plan.placed_bytes[job_.self];
  chunk_ = algo::chunk_of(placed_bytes_);
  if (foreign_ != nullptr) {
    const algo::Take& own = plan.takes[job_.self];
    std::byte* spare = room(foreign_->bytes);
    placed_ = own.bytes == foreign_->bytes ? job_.result + own.to : spare;
  } else {
    made_ = placed_bytes_;  // copies of my input: sent from there
  }
  Range* all = nullptr;
  for (std::size_t i = 0; i < job_.members; ++i) {
    Peer& p = peers_[i];
    if (const algo::Span& reads = plan.reads[i]; i != job_.self && reads.bytes != 0) {
      ranges_.push_back({job_.in + reads.at, reads.bytes, algo::chunk_of(reads.bytes), true, 0, 0, {}});
      p.input.range = &ranges_.back();
    }
    if (const algo::Span& give = plan.gives[i]; i != job_.self && give.bytes != 0) {
      const bool whole = give.bytes == placed_bytes_;
      if (!whole || all == nullptr) {
        ranges_.push_back({placed_at(give.at), give.bytes, chunk_, foreign_ == nullptr, give.at, 0, {}});
        if (whole) all = &ranges_.back();
      }
      p.result.range = whole ? all : &ranges_.back();
    }
    if (i == job_.self) continue;
    p.inputs.bytes = input_of(foreign_, i);
    p.inputs.landing = room(p.inputs.bytes);
    p.inputs.to = foreign_ != nullptr && !foreign_->fold ? placed_ : nullptr;
    p.results.bytes = plan.takes[i].bytes;
    p.results.landing = room(p.results.bytes);
    p.results.to = job_.result + plan.takes[i].to;
  }
}

// --- frames ---

std::byte* NetDevice::place(std::size_t peer, bool input, const wire::Frame& frame) const {
  const In& in = input ? peers_[peer].inputs : peers_[peer].results;
  if (frame.offset != in.got || frame.length == 0 || frame.length > in.bytes - in.got) return nullptr;
  return in.landing + in.got;
}

void NetDevice::arrived(std::size_t peer, bool input, const wire::Frame& frame) {
  In& in = input ? peers_[peer].inputs : peers_[peer].results;
  came_.push_back({peer, &in, in.got, frame.length, frame.payload_sum, Instant::never()});
  in.got += frame.length;
}

bool NetDevice::next(std::size_t peer, bool input, tcp::Outgoing& out) {
  Out& o = input ? peers_[peer].input : peers_[peer].result;
  if (o.range == nullptr) return false;
  const std::size_t index = o.sent / o.range->chunk;
  if (o.sent == o.range->bytes || index >= o.range->sums.size()) return false;
  out.frame.offset = o.sent;
  out.frame.chunk = static_cast<std::uint32_t>(index);
  out.frame.length = static_cast<std::uint32_t>(std::min(o.range->bytes - o.sent, o.range->chunk));
  out.frame.payload_sum = o.range->sums[index];
  out.payload = o.range->from + o.sent;
  out.opaque = true;
  o.sent += out.frame.length;
  return true;
}

bool NetDevice::unsent(std::size_t peer) const {
  const auto left = [](const Out& o) { return o.range != nullptr && o.sent < o.range->bytes; };
  return left(peers_[peer].input) || left(peers_[peer].result);
}

// --- steps ---

// Chunk by chunk, a few ahead of who is sent the most of it.
Status NetDevice::sum(Range& range) {
  const std::size_t stands = range.mine ? range.bytes : std::min(range.bytes, asked_ > range.at ? asked_ - range.at : 0);  // by then
  std::size_t sent = 0;
  for (const Peer& p : peers_)
    for (const Out* o : {&p.input, &p.result})
      if (o->range == &range) sent = std::max(sent, o->sent);
  while (!port_->full() && range.summed < range.bytes && range.summed < sent + kAhead * range.chunk) {
    const std::size_t step = std::min(range.bytes - range.summed, range.chunk);
    if (stands < range.summed + step) break;
    const Status s = port_->digest(this, nullptr, range.from + range.summed, step, [&range](std::uint64_t sum) { range.sums.push_back(sum); });
    if (!s) return s;
    range.summed += step;
  }
  return {};
}

// What has come, compared with what it should be; the result's is copied there in the same pass. What a network device has
// written to a GPU may be seen there late: so it is looked at again for a while, and what came after it in its turn.
Status NetDevice::check() {
  while (!port_->full() && !came_.empty()) {
    const Came c = came_.front();
    came_.pop_front();
    std::byte* to = c.in->to == nullptr ? nullptr : c.in->to + c.at;
    const Status s = port_->digest(this, to, c.in->landing + c.at, c.bytes, [this, c](std::uint64_t sum) {
      if (sum == c.sum && c.at == c.in->whole) {
        c.in->whole += c.bytes;
        return;
      }
      came_.push_back(c);
      if (sum == c.sum) return;
      Came& again = came_.back();
      if (again.looked.is_never()) again.looked = now();
      else if (now() - again.looked > patience_) corrupt_ = c.peer;
    });
    if (!s) return s;
  }
  return {};
}

// What I make of others' inputs, as far as all of them reach; or my own block's copy for my own result.
Status NetDevice::make() {
  if (corrupt_) return {};
  if (foreign_ == nullptr) {
    const algo::Take& own = job_.plan->takes[job_.self];
    if (port_->full() || asked_ == own.bytes) return {};
    asked_ = own.bytes;
    return port_->copy(this, job_.result + own.to, placed_at(job_.plan->gives[job_.self].at), own.bytes, [this] { own_ = asked_; });
  }
  if (!foreign_->fold) {  // its owner's bytes are copied in place
    made_ = asked_ = peers_[foreign_->from].inputs.whole;
    return {};
  }
  while (!port_->full() && asked_ < foreign_->bytes) {
    const std::size_t step = std::min(foreign_->bytes - asked_, chunk_);
    device::Reduce f{job_.desc.type, job_.desc.reduce, 1, 0, step / size_of(job_.desc.type), {placed_ + asked_}, {}};
    for (std::size_t i = 0; i < job_.members; ++i) {
      const In& in = peers_[i].inputs;
      if (i != job_.self && in.whole < asked_ + step) return {};
      f.from[f.sources++] = (i == job_.self ? job_.in + foreign_->at : in.landing) + asked_;
    }
    if (Status s = port_->reduce(this, f, [this, step] { made_ += step; }); !s) return s;
    asked_ += step;
  }
  return {};
}

Result<bool> NetDevice::turn() {
  const Result<bool> moved = port_->turn();
  if (!moved) return moved;
  if (Status s = check(); !s) return s.error();
  if (Status s = make(); !s) return s.error();
  for (Range& range : ranges_)
    if (Status s = sum(range); !s) return s.error();
  return moved;
}

bool NetDevice::complete() const {
  if (!placed() || corrupt_) return false;
  if (foreign_ == nullptr && own_ != job_.plan->takes[job_.self].bytes) return false;
  return std::all_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.results.whole == p.results.bytes; });
}

}  // namespace regroup
