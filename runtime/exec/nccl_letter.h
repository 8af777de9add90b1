// Letters of NcclKeepers to one another, within an epoch. Values and their encoding; what is malformed is nullopt.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "transport/nccl/api.h"

namespace regroup {

struct NcclKey {  // of a communicator, the same at all its members
  Epoch epoch = 0;
  std::uint32_t attempt = 0;
  bool operator==(const NcclKey&) const = default;
};

struct NcclBegin {  // the leader's: make the communicator of this attempt
  std::uint32_t attempt = 0;
  bool shrink = false;
  NcclKey parent;       // shrink: of this one
  nccl::UniqueId id{};  // rebuild: by this
};

struct NcclReport {  // to the leader
  std::uint32_t attempt = 0;
  bool ok = false;
  bool never = false;  // it does not use NCCL any more
  std::string why;
};

struct NcclAsk {  // to all: who knows that this process is dead?
  static constexpr std::size_t kMostAddress = 2048;
  Incarnation inc;
  std::string address;  // MemberInfo::address
};

// What these incarnations had in NCCL has ended: they were the writer's own, which has ended it, or it knows that their
// processes are dead.
struct NcclEnded {
  static constexpr std::size_t kMost = 16;
  std::vector<Incarnation> all;
};

struct NcclLetter {
  std::optional<NcclBegin> begin;
  std::optional<NcclReport> report;
  std::optional<NcclAsk> ask;
  std::optional<NcclEnded> ended;
};

inline std::vector<std::byte> encode(const NcclBegin& b) {
  Writer w;
  w.u8(1);
  w.u32(b.attempt);
  w.u8(b.shrink);
  w.u64(b.parent.epoch);
  w.u32(b.parent.attempt);
  w.text({b.id.bytes, sizeof b.id.bytes});
  return w.take();
}

inline std::vector<std::byte> encode(const NcclReport& r) {
  Writer w;
  w.u8(2);
  w.u32(r.attempt);
  w.u8(static_cast<std::uint8_t>(r.ok | r.never << 1));
  w.text(std::string_view(r.why).substr(0, 512));
  return w.take();
}

inline std::vector<std::byte> encode(const NcclAsk& a) {
  Writer w;
  w.u8(3);
  w.u64(a.inc.hi);
  w.u64(a.inc.lo);
  w.text(a.address);
  return w.take();
}

inline std::vector<std::byte> encode(const NcclEnded& e) {
  Writer w;
  w.u8(4);
  w.u8(static_cast<std::uint8_t>(e.all.size()));
  for (const Incarnation& inc : e.all) w.u64(inc.hi), w.u64(inc.lo);
  return w.take();
}

inline std::optional<NcclLetter> decode_nccl_letter(std::span<const std::byte> bytes) {
  Reader r(bytes);
  NcclLetter letter;
  const std::uint8_t kind = r.u8();
  if (kind == 1) {
    NcclBegin b;
    b.attempt = r.u32();
    b.shrink = r.u8() != 0;
    b.parent.epoch = r.u64();
    b.parent.attempt = r.u32();
    const std::string id = r.text(sizeof b.id.bytes);
    if (id.size() != sizeof b.id.bytes) return std::nullopt;
    std::memcpy(b.id.bytes, id.data(), id.size());
    letter.begin = b;
  } else if (kind == 2) {
    NcclReport said;
    said.attempt = r.u32();
    const std::uint8_t flags = r.u8();
    said.ok = (flags & 1) != 0;
    said.never = (flags & 2) != 0;
    said.why = r.text(512);
    letter.report = said;
  } else if (kind == 3) {
    NcclAsk asked;
    asked.inc.hi = r.u64();
    asked.inc.lo = r.u64();
    asked.address = r.text(NcclAsk::kMostAddress);
    letter.ask = asked;
  } else if (kind == 4) {
    NcclEnded ended;
    const std::size_t n = r.u8();
    if (n > NcclEnded::kMost) return std::nullopt;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t hi = r.u64();
      ended.all.push_back({hi, r.u64()});
    }
    letter.ended = ended;
  }
  if (!r.done() || (!letter.begin && !letter.report && !letter.ask && !letter.ended)) return std::nullopt;
  return letter;
}

}  // namespace regroup
