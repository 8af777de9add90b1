#include "ft/driver/codec.h"

#include <string>
#include <utility>

#include "base/bytes.h"
#include "ft/core/commit_counter.h"

namespace regroup {
namespace {

// A text that is too long is cut on the way out (reasons for people), so that what we send is always accepted.
void put(Writer& w, const std::string& v) { w.text(std::string_view(v).substr(0, kMaxTextBytes)); }
void put(Writer& w, bool v) { w.u8(v ? 1 : 0); }
void put(Writer& w, Code v) { w.u8(static_cast<std::uint8_t>(v)); }
void put(Writer& w, const MemberId& v) { w.u32(v.replica), w.u32(v.rank); }
void put(Writer& w, const Incarnation& v) { w.u64(v.hi), w.u64(v.lo); }
void put(Writer& w, const MemberInfo& v) {
  put(w, v.id);
  put(w, v.inc);
  w.u64(v.locality);
  put(w, v.address);
}
void put(Writer& w, const FailedOp& v) {
  w.u64(v.op);
  put(w, v.code);
  put(w, v.a);
  put(w, v.b);
  put(w, v.redone);
}
void put(Writer& w, std::uint64_t v) { w.u64(v); }
template <class T>
void put(Writer& w, const std::vector<T>& list) {
  w.u32(static_cast<std::uint32_t>(list.size()));
  for (const T& v : list) put(w, v);
}
void put(Writer& w, const Decision& d) {
  w.u64(d.view.log);
  w.u64(d.view.epoch);
  put(w, d.view.members);
  w.u64(d.prev);
  w.u64(d.trim);
  w.u64(d.high);
  put(w, d.failed);
  put(w, d.joined);
  w.u8(static_cast<std::uint8_t>(d.plane));
  put(w, d.shared_banned);
  w.u8(d.founding ? 2 : d.planned ? 1 : 0);  // who founds plans
  put(w, d.reason);
}
void put(Writer& w, const Report& v) {
  w.u64(v.epoch), w.u64(v.prepared), w.u64(v.committed), w.u64(v.high);
  put(w, v.digests);
}

void put(Writer& w, const Hello& m) {
  put(w, m.group);
  w.u64(m.log);
  put(w, m.self);
  w.u64(m.config_hash);
  put(w, m.config);
  w.u32(m.world_size);
  w.u64(m.installed);
  put(w, m.wedged);
  w.u8(static_cast<std::uint8_t>(m.ready));
  w.u64(m.ready_nth);
}
void put(Writer& w, const Heartbeat& m) { w.u64(m.epoch), w.u64(m.committed); }
void put(Writer& w, const Ready& m) { w.u8(static_cast<std::uint8_t>(m.how)), w.u64(m.nth); }
void put(Writer& w, const Wedged& m) { w.u64(m.round), put(w, m.report); }
void put(Writer& w, const CutDone& m) { w.u64(m.epoch), w.u64(m.plan), w.u64(m.op); }
void put(Writer& w, const Level& m) { w.u64(m.plan), w.u64(m.op), put(w, m.ok); }
void put(Writer& w, const Suspect& m) { put(w, m.who), w.u8(static_cast<std::uint8_t>(m.kind)); }
void put(Writer& w, const FailOp& m) { w.u64(m.epoch), put(w, m.what); }
void put(Writer& w, const AskChange& m) { w.u64(m.epoch), put(w, m.ban_shared), put(w, m.reason); }
void put(Writer&, const Leave&) {}
void put(Writer& w, const Welcome& m) { w.u64(m.log), w.u64(m.epoch), put(w, m.members); }
void put(Writer& w, const Refuse& m) { put(w, m.code), put(w, m.detail); }
void put(Writer& w, const Wedge& m) { w.u64(m.round), put(w, m.made); }
void put(Writer& w, const Notice& m) { w.u64(m.epoch), w.u64(m.plan); }
void put(Writer& w, const Fetch& m) { w.u64(m.plan), w.u64(m.log), w.u64(m.op), put(w, m.source); }
void put(Writer& w, const Install& m) { put(w, m.decision); }
void put(Writer& w, const Evicted& m) { w.u64(m.log), w.u64(m.epoch); }

void get(Reader& r, std::uint32_t& v) { v = r.u32(); }
void get(Reader& r, std::uint64_t& v) { v = r.u64(); }
void get(Reader& r, std::string& v) { v = r.text(kMaxTextBytes); }
// One byte with a largest value: another one is malformed, so that decoding and encoding are inverse.
template <class E>
void get_enum(Reader& r, E& v, std::uint8_t max) {
  const std::uint8_t byte = r.u8();
  if (byte > max) return r.fail();
  v = static_cast<E>(byte);
}
void get(Reader& r, bool& v) { get_enum(r, v, 1); }
void get(Reader& r, Code& v) { get_enum(r, v, static_cast<std::uint8_t>(Code::kClosed)); }
void get(Reader& r, MemberId& v) { get(r, v.replica), get(r, v.rank); }
void get(Reader& r, Incarnation& v) { get(r, v.hi), get(r, v.lo); }
void get(Reader& r, MemberInfo& v) {
  get(r, v.id);
  get(r, v.inc);
  get(r, v.locality);
  get(r, v.address);
}
void get(Reader& r, FailedOp& v) {
  get(r, v.op);
  get(r, v.code);
  get(r, v.a);
  get(r, v.b);
  get(r, v.redone);
}
// Grows with what is really there: a count alone allocates nothing.
template <class T>
void get(Reader& r, std::vector<T>& list, std::uint32_t max) {
  const std::uint32_t n = r.count(max);
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) {
    T v{};
    get(r, v);
    list.push_back(std::move(v));
  }
}
void get(Reader& r, Decision& d) {
  get(r, d.view.log);
  get(r, d.view.epoch);
  get(r, d.view.members, kMaxMembers);
  get(r, d.prev);
  get(r, d.trim);
  get(r, d.high);
  get(r, d.failed, kMaxFailedOps);
  get(r, d.joined, kMaxMembers);
  get_enum(r, d.plane, static_cast<std::uint8_t>(PlaneKind::kHybrid));
  get(r, d.shared_banned);
  if (const std::uint8_t how = r.u8(); how <= 2) d.planned = how != 0, d.founding = how == 2;
  else r.fail();
  get(r, d.reason);
}
void get(Reader& r, Report& v) {
  get(r, v.epoch), get(r, v.prepared), get(r, v.committed), get(r, v.high);
  get(r, v.digests, CommitCounter::kMaxWindow);
}

void get(Reader& r, Hello& m) {
  get(r, m.group);
  get(r, m.log);
  get(r, m.self);
  get(r, m.config_hash);
  get(r, m.config);
  get(r, m.world_size);
  get(r, m.installed);
  get(r, m.wedged);
  get_enum(r, m.ready, static_cast<std::uint8_t>(Readiness::kLevel));
  get(r, m.ready_nth);
}
void get(Reader& r, Heartbeat& m) { get(r, m.epoch), get(r, m.committed); }
void get(Reader& r, Ready& m) { get_enum(r, m.how, static_cast<std::uint8_t>(Readiness::kLevel)), get(r, m.nth); }
void get(Reader& r, Wedged& m) { get(r, m.round), get(r, m.report); }
void get(Reader& r, CutDone& m) { get(r, m.epoch), get(r, m.plan), get(r, m.op); }
void get(Reader& r, Level& m) { get(r, m.plan), get(r, m.op), get(r, m.ok); }
void get(Reader& r, Suspect& m) { get(r, m.who), get_enum(r, m.kind, static_cast<std::uint8_t>(SuspectKind::kLink)); }
void get(Reader& r, FailOp& m) { get(r, m.epoch), get(r, m.what); }
void get(Reader& r, AskChange& m) { get(r, m.epoch), get(r, m.ban_shared), get(r, m.reason); }
void get(Reader&, Leave&) {}
void get(Reader& r, Welcome& m) { get(r, m.log), get(r, m.epoch), get(r, m.members, kMaxMembers); }
void get(Reader& r, Refuse& m) { get(r, m.code), get(r, m.detail); }
void get(Reader& r, Wedge& m) { get(r, m.round), get(r, m.made); }
void get(Reader& r, Notice& m) { get(r, m.epoch), get(r, m.plan); }
void get(Reader& r, Fetch& m) { get(r, m.plan), get(r, m.log), get(r, m.op), get(r, m.source); }
void get(Reader& r, Install& m) { get(r, m.decision); }
void get(Reader& r, Evicted& m) { get(r, m.log), get(r, m.epoch); }

// The tag is the place in the variant; the order of messages.h is part of the format (append only).
template <class Variant>
std::vector<std::byte> encode_any(const Variant& message) {
  Writer w;
  w.u8(static_cast<std::uint8_t>(message.index()));
  std::visit([&](const auto& m) { put(w, m); }, message);
  return w.take();
}

template <class Variant, std::size_t I = 0>
Result<Variant> decode_any(std::uint8_t tag, Reader& r) {
  if constexpr (I == std::variant_size_v<Variant>) {
    return {Code::kRefused, "unknown control message " + std::to_string(tag)};
  } else {
    if (tag != I) return decode_any<Variant, I + 1>(tag, r);
    std::variant_alternative_t<I, Variant> m{};
    get(r, m);
    if (!r.done()) return {Code::kRefused, "malformed control message " + std::to_string(tag)};
    return Variant(std::in_place_index<I>, std::move(m));
  }
}

}  // namespace

std::vector<std::byte> encode(const ToCoordinator& message) { return encode_any(message); }
std::vector<std::byte> encode(const ToMember& message) { return encode_any(message); }

std::vector<std::byte> encode(const Decision& decision) {
  Writer w;
  put(w, decision);
  return w.take();
}

Result<ToCoordinator> decode_to_coordinator(std::span<const std::byte> bytes) {
  Reader r(bytes);
  const std::uint8_t tag = r.u8();
  return decode_any<ToCoordinator>(tag, r);
}

Result<ToMember> decode_to_member(std::span<const std::byte> bytes) {
  Reader r(bytes);
  const std::uint8_t tag = r.u8();
  return decode_any<ToMember>(tag, r);
}

Result<Decision> decode_decision(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Decision d;
  get(r, d);
  if (!r.done()) return {Code::kRefused, "malformed decision"};
  return d;
}

}  // namespace regroup
