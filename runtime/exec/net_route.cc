#include "runtime/exec/net_route.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/kernels.h"

namespace regroup {

void NetRoute::begin(const algo::Route& route, const OpDesc& desc, std::size_t self, std::size_t members, Memory memory,
                     bool together) {
  RG_CHECK(!together || route.once);
  route_ = &route;
  desc_ = desc;
  self_ = self;
  members_ = members;
  memory_ = memory;
  together_ = together;
  links_.assign(members, {});
  sends_.assign(route.sends.size(), {});
  takes_.assign(route.takes.size(), {});
  std::size_t chunks = 0;
  for (std::size_t i = route.sends.size(); i-- > 0;) {
    Link& link = links_[route.sends[i].to];
    sends_[i].next = std::exchange(link.send, static_cast<std::uint32_t>(i));
    link.sends = true;
  }
  for (std::size_t i = route.takes.size(); i-- > 0;) {
    const algo::Arrival& take = route.takes[i];
    if (take.from == self) {
      takes_[i].got = take.bytes;
      continue;
    }
    Link& link = links_[take.from];
    takes_[i].next = std::exchange(link.take, static_cast<std::uint32_t>(i));
    link.takes = true;
    takes_[i].sums = chunks;
    if (!take.fold) chunks += (take.bytes + algo::chunk_of(take.bytes) - 1) / algo::chunk_of(take.bytes);
  }
  sums_.assign(together ? 0 : chunks, 0);
  for (Link& link : links_) {
    std::uint32_t hop = 0;
    for (std::uint32_t i = link.send; i != kNone; i = sends_[i].next) sends_[i].hop = hop++;
    hop = 0;
    for (std::uint32_t i = link.take; i != kNone; i = takes_[i].next) takes_[i].hop = hop++;
    if (!together) skip_empty(link);
  }
  left_ = folds_ = low_ = 0;
  for (const algo::Arrival& take : route.takes) {
    const bool empty = take.bytes == 0 && (!together || take.from == self);
    left_ += !empty;
    folds_ += !empty && take.fold;
  }
  work_ = true;
}

// What has no bytes needs no frame.
void NetRoute::skip_empty(Link& link) {
  while (link.send != kNone && route_->sends[link.send].bytes == 0) link.send = sends_[link.send].next;
  while (link.take != kNone && route_->takes[link.take].bytes == 0) link.take = takes_[link.take].next;
}

std::byte* NetRoute::at(const algo::Place& place) const {
  RG_CHECK(place.area != algo::Area::kInput);
  return (place.area == algo::Area::kOutput ? memory_.out : memory_.scratch) + place.at;
}

const std::byte* NetRoute::source(const algo::Place& place) const {
  return place.area == algo::Area::kInput ? memory_.in + place.at : at(place);
}

std::size_t NetRoute::stands(const algo::Send& send) const {
  if (send.last - send.first == 1) return takes_[send.first].made;
  for (std::uint32_t i = send.first; i < send.last; ++i)
    if (takes_[i].made < route_->takes[i].bytes) return 0;
  return send.bytes;
}

// --- together ---

std::optional<std::span<const std::byte>> NetRoute::parcel(std::size_t peer) const {
  const Link& link = links_[peer];
  if (link.send == kNone) return std::nullopt;
  const algo::Send& send = route_->sends[link.send];
  for (std::uint32_t i = send.first; i < send.last; ++i)  // also of a take without bytes: its message must have come
    if (route_->takes[i].from != self_ && links_[route_->takes[i].from].take == i) return std::nullopt;
  if (stands(send) < send.bytes) return std::nullopt;
  return std::span<const std::byte>(source(send.from), send.bytes);
}

void NetRoute::parcel_sent(std::size_t peer) { links_[peer].send = kNone; }

std::size_t NetRoute::parcel_bytes(std::size_t peer) const {
  const Link& link = links_[peer];
  return link.take == kNone ? 0 : route_->takes[link.take].bytes;
}

void NetRoute::parcel_came(std::size_t peer, std::span<const std::byte> bytes) {
  Link& link = links_[peer];
  RG_CHECK(link.take != kNone && bytes.size() == route_->takes[link.take].bytes);
  const std::uint32_t i = std::exchange(link.take, kNone);
  if (!bytes.empty()) std::memcpy(at(route_->takes[i].to), bytes.data(), bytes.size());
  takes_[i].got = bytes.size();
  if (bytes.empty()) {
    --left_;
    folds_ -= route_->takes[i].fold;
  }
  work_ = true;
}

// --- apart ---

bool NetRoute::next(std::size_t peer, tcp::Outgoing& out) {
  Link& link = links_[peer];
  if (link.send == kNone) return false;
  const algo::Send& send = route_->sends[link.send];
  SendState& state = sends_[link.send];
  const std::size_t chunk = algo::chunk_of(send.bytes), at = state.sent, bytes = std::min(send.bytes - at, chunk);
  if (stands(send) < at + bytes) return false;
  out.frame.offset = at;
  out.frame.chunk = state.hop;
  out.frame.length = static_cast<std::uint32_t>(bytes);
  out.payload = source(send.from) + at;
  std::uint64_t known = 0;
  if (send.last - send.first == 1 && !route_->takes[send.first].fold && route_->takes[send.first].from != self_)
    known = sums_[takes_[send.first].sums + at / chunk];
  out.frame.payload_sum = known != 0 ? known : wire::checksum({out.payload, bytes});
  state.sent += bytes;
  if (state.sent < send.bytes) return true;
  link.send = state.next;
  skip_empty(link);
  return true;
}

std::byte* NetRoute::place(std::size_t peer, const wire::Frame& frame) const {
  const Link& link = links_[peer];
  if (together_ || link.take == kNone) return nullptr;
  const algo::Arrival& take = route_->takes[link.take];
  const TakeState& state = takes_[link.take];
  const bool next = frame.chunk == state.hop && frame.offset == state.got && frame.length != 0;
  return next && frame.length <= take.bytes - state.got ? at(take.to) + state.got : nullptr;
}

void NetRoute::arrived(std::size_t peer, const wire::Frame& frame) {
  Link& link = links_[peer];
  const algo::Arrival& take = route_->takes[link.take];
  TakeState& state = takes_[link.take];
  const std::size_t chunk = algo::chunk_of(take.bytes), before = state.got;
  state.got += frame.length;
  const bool aligned = before % chunk == 0 && (frame.length == chunk || state.got == take.bytes);
  if (!take.fold && aligned) sums_[state.sums + before / chunk] = frame.payload_sum;
  work_ = true;
  if (state.got < take.bytes) return;
  link.take = state.next;
  skip_empty(link);
}

// --- making ---

bool NetRoute::produce() {
  if (!work_) return false;
  while (low_ < takes_.size() && takes_[low_].made == route_->takes[low_].bytes) ++low_;
  for (std::size_t i = low_; i < takes_.size(); ++i)
    if (takes_[i].made < takes_[i].got && produce(i)) return true;
  return work_ = false;
}

bool NetRoute::produce(std::size_t index) {
  const algo::Arrival& take = route_->takes[index];
  TakeState& state = takes_[index];
  if (!take.fold && take.from != self_) {  // it came to its place
    state.made = state.got;
    return advance(index), true;
  }
  std::size_t reach = state.got;
  if (take.needs != algo::kNoTake) reach = std::min(reach, takes_[take.needs].made);
  const std::size_t step = std::min(take.bytes - state.made, algo::chunk_of(take.bytes));
  if (reach < state.made + step) return false;
  std::byte* to = at(take.to) + state.made;
  const std::byte* mine = source(take.with) + state.made;
  const std::size_t count = step / size_of(desc_.type);
  if (!take.fold) {
    kernels::copy(to, mine, step);
  } else {
    const ReduceOp op = desc_.reduce == ReduceOp::kAvg ? ReduceOp::kSum : desc_.reduce;
    const void* sources[2] = {take.mine_first ? mine : to, take.mine_first ? to : mine};
    kernels::reduce(desc_.type, op, to, sources, count);
    if (take.finish && desc_.reduce == ReduceOp::kAvg)
      kernels::divide(desc_.type, to, static_cast<std::uint32_t>(members_), count);
  }
  state.made += step;
  return advance(index), true;
}

void NetRoute::advance(std::size_t index) {
  const algo::Arrival& take = route_->takes[index];
  if (takes_[index].made < take.bytes) return;
  --left_;
  folds_ -= take.fold;
}

}  // namespace regroup
