// What the links ask of NetPlane: where frames go, what to send next.
#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "runtime/exec/net_plane.h"

namespace regroup {

tcp::Placement NetPlane::place_ready(PeerState& p, const wire::Frame& frame) {
  const std::size_t most = kDescBytes + std::max(config_.rules.small_bytes, peers_.size() * 8);
  if (frame.length < kDescBytes || frame.length > most) return {};
  if (frame.op == active_) {
    if (p.ready_seen) return {};
    p.number = frame.chunk;
    p.ready.resize(frame.length);
    return {tcp::Take::kInto, p.ready.data()};
  }
  if (p.early.size() >= kMaxEarly || (!p.early.empty() && p.early.back().op >= frame.op)) return {};
  p.early.push_back({frame.op, false, std::vector<std::byte>(frame.length), frame.chunk});
  return {tcp::Take::kInto, p.early.back().ready.data()};
}

tcp::Placement NetPlane::place(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (NetPairs::owns(frame)) return pairs_.place(peer, frame);
  if (tcp::Placement aside; place_aside(p, frame, aside)) return aside;
  if (frame.type == kPrepared) return {frame.length == 0 ? tcp::Take::kInto : tcp::Take::kRefuse, nullptr};
  if (active_ != 0 && frame.op < active_) return {tcp::Take::kDiscard, nullptr};
  if (frame.type == kReady) return place_ready(p, frame);
  // Bytes of a peer whose descriptor differs have no place here; the decision that fails the op is under way.
  if (frame.op != active_ || !p.ready_seen) return {};
  if (!p.same) return {tcp::Take::kDiscard, nullptr};
  if (routed() != (frame.type == kHop)) return {};
  if (routed()) {
    std::byte* to = hops_.place(peer, frame);
    return to == nullptr ? tcp::Placement{} : tcp::Placement{tcp::Take::kInto, to};
  }
  if (small_ || (frame.type != kInput && frame.type != kResult)) return {};
  if (asks_ && where_ == Where::kUnknown) return {tcp::Take::kHold, nullptr};  // its place depends on who has not told yet
  const bool input = frame.type == kInput;
  if (there_ && !device_trouble_) return {tcp::Take::kDiscard, nullptr};  // the decision that fails the op is under way, or mine to go
  if (there_) {
    std::byte* to = device_->place(peer, input, frame);
    return to == nullptr ? tcp::Placement{} : tcp::Placement{tcp::Take::kInto, to, true};
  }
  const algo::Take& take = plan_.takes[peer];
  const std::size_t got = input ? p.input_got : p.result_got, size = input ? input_from(peer) : take.bytes;
  if (frame.offset != got || frame.length > size - got) return {};  // in order and within its bounds, or a breach
  std::byte* base = !input ? out_ + take.to : foreign()->fold ? p.input.memory.get() : placed_;
  return {tcp::Take::kInto, base + got};
}

bool NetPlane::arrived(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (NetPairs::owns(frame)) return pairs_.arrived(peer, frame);
  if (frame.type == kDigest || frame.type == kLetter) return arrived_aside(peer, frame);
  if (frame.type == kPrepared) return hear_prepared(peer, frame);
  if (frame.type == kReady) {
    const auto early = std::find_if(p.early.begin(), p.early.end(), [&](const Early& e) { return e.op == frame.op; });
    if (early == p.early.end()) return frame.op != active_ || take_ready(peer);
    early->whole = true;
    return take_early(peer);
  }
  if (frame.op != active_) return true;
  if (there_ && (frame.type == kInput || frame.type == kResult)) return device_->arrived(peer, frame.type == kInput, frame), true;
  if (frame.type == kHop) hops_.arrived(peer, frame);
  if (frame.type == kInput) p.input_got += frame.length;
  if (frame.type == kResult) p.result_got += frame.length;
  return true;
}

// A descriptor that was set aside, if it is of the op at hand. False: as take_ready.
bool NetPlane::take_early(std::size_t peer) {
  PeerState& p = peers_[peer];
  const auto mine =
      std::find_if(p.early.begin(), p.early.end(), [&](const Early& e) { return e.op == active_ && e.whole; });
  if (mine == p.early.end()) return true;
  p.ready = std::move(mine->ready);
  p.number = mine->number;
  p.early.erase(p.early.begin(), std::next(mine));
  return take_ready(peer);
}

// The peer's descriptor of the op at hand is here. False: it lies about its size.
bool NetPlane::take_ready(std::size_t peer) {
  PeerState& p = peers_[peer];
  p.ready_seen = true;
  p.same = std::equal(p.ready.begin(), p.ready.begin() + kDescBytes, ready_out_.begin());
  if (!p.same) return true;
  if (routed()) return take_parcel(peer);
  const std::size_t more = plan_.told ? peers_.size() * 8 : small_ ? plan_.inputs[peer] : 0;
  if (p.ready.size() != kDescBytes + more) return false;
  decide();
  if (plan_.told) {
    Reader r(std::span<const std::byte>(p.ready).subspan(kDescBytes + self_ * 8));
    p.same = r.u64() == plan_.takes[peer].bytes;
  }
  return true;
}

// What came beside the descriptor of a routed op. False: not what belongs there.
bool NetPlane::take_parcel(std::size_t peer) {
  const std::span<const std::byte> bytes = std::span<const std::byte>(peers_[peer].ready).subspan(kDescBytes);
  if (!hops_.hears(peer)) return form_ == algo::Form::kHierarchical && bytes.empty();
  if (!hops_.together()) return bytes.empty();
  if (bytes.size() != hops_.parcel_bytes(peer)) return false;
  hops_.parcel_came(peer, bytes);
  return true;
}

bool NetPlane::next(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  if (pairs_.next(peer, out)) return true;
  out = {};
  out.frame.op = active_;
  if (active_ != 0 && !p.ready_sent && next_ready(peer, out)) return true;
  if (active_ != 0 && !first_told_ && p.ready_sent)
    return false;  // the failpoint of the first frame comes before the second
  if (active_ != 0 && !small_ && !held_ && p.same && p.ready_sent) {
    out.frame.type = kHop;
    if (routed() ? !hops_.together() && hops_.next(peer, out) : send_input(peer, out) || send_result(peer, out))
      return true;
  }
  if (next_aside(p, out)) return true;
  if (p.prepared_sent >= p.prepared_due) return false;
  p.prepared_sent = p.prepared_due;
  out.frame.type = kPrepared;
  out.frame.op = p.prepared_due;
  out.frame.chunk = p.relayed;
  wire::fill(out.frame, {});
  return true;
}

// My descriptor, and with it what is small. Routed: only to those whom a hop goes to (or comes from), when that stands.
bool NetPlane::next_ready(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  std::vector<std::byte>* message = &ready_out_;
  if (routed()) {
    if (!tells(peer)) return false;
    if (hops_.together()) {
      const auto bytes = hops_.parcel(peer);
      if (!bytes) return false;
      hops_.parcel_sent(peer);
      message = &p.parcel;
      message->assign(ready_out_.begin(), ready_out_.end());
      message->insert(message->end(), bytes->begin(), bytes->end());
    }
  }
  p.ready_sent = true;
  out.frame.type = kReady;
  out.frame.chunk = number_;
  wire::fill(out.frame, *message);
  out.payload = message->data();
  return true;
}

// The peer's range of my input.
bool NetPlane::send_input(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  if (there_) return out.frame.type = kInput, device_->next(peer, true, out);
  const algo::Span& range = plan_.reads[peer];
  if (p.input_sent == range.bytes) return false;
  const std::size_t at = p.input_sent, chunk = algo::chunk_of(range.bytes);
  out.frame.type = kInput;
  out.frame.offset = at;
  out.frame.chunk = static_cast<std::uint32_t>(at / chunk);
  out.payload = in_ + range.at + at;
  wire::fill(out.frame, {out.payload, std::min(range.bytes - at, chunk)});
  p.input_sent += out.frame.length;
  return true;
}

// The peer's part of what I placed, as far as it stands.
bool NetPlane::send_result(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  if (there_) return out.frame.type = kResult, device_->next(peer, false, out);
  const algo::Span& give = plan_.gives[peer];
  const std::size_t reach = std::min(give.bytes, stands() > give.at ? stands() - give.at : 0);
  if (p.result_sent >= reach) return false;
  const bool all = give.bytes == plan_.placed_bytes[self_];
  const std::size_t at = p.result_sent, index = at / chunk_, bytes = std::min(reach - at, chunk_);
  out.frame.type = kResult;
  out.frame.offset = at;
  out.frame.chunk = static_cast<std::uint32_t>(index);
  out.frame.length = static_cast<std::uint32_t>(bytes);
  out.payload = placed_at(give.at) + at;
  const bool aligned = all && at % chunk_ == 0 && (bytes == chunk_ || at + bytes == give.bytes);
  if (aligned && index == sums_.size()) sums_.push_back(wire::checksum({out.payload, bytes}));
  out.frame.payload_sum = aligned && index < sums_.size() ? sums_[index] : wire::checksum({out.payload, bytes});
  p.result_sent += bytes;
  return true;
}

bool NetPlane::flushed(std::size_t) { return active_ != 0 && !std::exchange(first_out_, true); }

std::size_t NetPlane::unsent() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    const PeerState& p = peers_[i];
    count += pairs_.unsent(i);
    if (p.prepared_sent < p.prepared_due) ++count;
    count += p.digests_due.size() + (p.letters.size() - p.letters_sent);
    if (active_ == 0 || (p.ready_sent && small_)) continue;
    if (routed()) {
      count += (tells(i) && !p.ready_sent) || (!hops_.together() && p.same && hops_.unsent(i));
      continue;
    }
    if (there_) {
      count += !p.ready_sent || device_->unsent(i);
      continue;
    }
    count += !p.ready_sent || (p.same && (p.input_sent < plan_.reads[i].bytes || p.result_sent < plan_.gives[i].bytes));
  }
  return count;
}

}  // namespace regroup
