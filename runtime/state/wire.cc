#include "runtime/state/wire.h"

namespace regroup::state {
namespace {

void put(Writer& w, const std::vector<std::uint32_t>& list) {
  w.u32(static_cast<std::uint32_t>(list.size()));
  for (std::uint32_t v : list) w.u32(v);
}
std::vector<std::uint32_t> get_list(Reader& r) {
  std::vector<std::uint32_t> list;
  const std::uint32_t n = r.count(kMaxAsked);
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) list.push_back(r.u32());
  return list;
}
template <class T>
std::optional<T> whole(const Reader& r, T value) {
  if (!r.done()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::byte> encode(const TakeAsk& m) {
  Writer w;
  w.u64(m.step), w.u32(m.source), w.u32(m.sources), w.u8(m.compare), w.u32(m.hurry);
  return w.take();
}
std::optional<TakeAsk> decode_take(std::span<const std::byte> in) {
  Reader r(in);
  TakeAsk m;
  m.step = r.u64(), m.source = r.u32(), m.sources = r.u32(), m.compare = r.u8() != 0, m.hurry = r.u32();
  if (m.sources == 0 || m.source >= m.sources || m.hurry > kMaxHurry) r.fail();
  return whole(r, m);
}

std::vector<std::byte> encode(const GetAsk& m) {
  Writer w;
  put(w, m.stripes), put(w, m.digests);
  return w.take();
}
std::optional<GetAsk> decode_get(std::span<const std::byte> in) {
  Reader r(in);
  GetAsk m;
  m.stripes = get_list(r), m.digests = get_list(r);
  return whole(r, std::move(m));
}

std::vector<std::byte> encode(const std::vector<Told>& m) {
  Writer w;
  w.u32(static_cast<std::uint32_t>(m.size()));
  for (const Told& t : m) w.u32(t.stripe), w.u8(t.there), w.u64(t.digest);
  return w.take();
}
std::optional<std::vector<Told>> decode_told(std::span<const std::byte> in) {
  Reader r(in);
  std::vector<Told> m;
  const std::uint32_t n = r.count(kMaxAsked);
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) {
    Told t;
    t.stripe = r.u32(), t.there = r.u8() != 0, t.digest = r.u64();
    m.push_back(t);
  }
  return whole(r, std::move(m));
}

std::vector<std::byte> encode(const FollowAsk& m) {
  Writer w;
  w.u64(m.from), w.u8(m.retain);
  return w.take();
}
std::optional<FollowAsk> decode_follow(std::span<const std::byte> in) {
  Reader r(in);
  FollowAsk m;
  m.from = r.u64(), m.retain = r.u8() != 0;
  return whole(r, m);
}

std::vector<std::byte> encode(const Holder::Version& m) {
  Writer w;
  w.u8(m.known), w.u64(m.step), w.u64(m.op);
  return w.take();
}
std::optional<Holder::Version> decode_version(std::span<const std::byte> in) {
  Reader r(in);
  Holder::Version m;
  m.known = r.u8() != 0, m.step = r.u64(), m.op = r.u64();
  return whole(r, m);
}

std::vector<std::byte> encode_entry(const Entry& m) {
  Writer w;
  w.u64(m.op), w.u8(static_cast<std::uint8_t>(m.code)), w.u8(m.mark), w.u8(m.whole);
  w.u32(m.contributors), w.u64(m.step), w.u64(m.data.size());
  return w.take();
}
std::optional<Entry> decode_entry(std::span<const std::byte> in, std::uint64_t& bytes) {
  Reader r(in);
  Entry m;
  m.op = r.u64();
  const std::uint8_t code = r.u8();
  if (code > static_cast<std::uint8_t>(Code::kClosed)) r.fail();
  m.code = static_cast<Code>(code);
  m.mark = r.u8() != 0, m.whole = r.u8() != 0;
  m.contributors = r.u32(), m.step = r.u64();
  bytes = r.u64();
  return whole(r, std::move(m));
}

}  // namespace regroup::state
