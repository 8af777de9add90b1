// What travels between a joiner and a holder, over a Stream (stream.h), beside the frames' headers. Numbers are bounded.
// A data connection: Open -> Version; Take -> Taken (then the snapshot lives as long as the connection); Get -> one frame
// for each stripe asked for, then Digests. A feed: Follow -> Version, then results in order, or signs of life.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/state/holder.h"
#include "runtime/state/stream.h"

namespace regroup::state {

inline constexpr std::uint32_t kMaxAsked = 4096;       // stripes in one request
inline constexpr std::size_t kMaxTableBytes = 3u << 20;
inline constexpr Duration kAliveEvery = Duration::from_ms(200);
inline constexpr std::uint32_t kMaxHurry = 20;
inline constexpr std::uint32_t kUrgent = 3;  // a hurry from which on a transfer has no low priority any more

struct TakeAsk {
  std::uint64_t step = 0;
  std::uint32_t source = 0, sources = 1;
  bool compare = false;  // only the digests of stripes i with i % sources == source, and no blobs: to compare with
  std::uint32_t hurry = 0;  // attempts that a full journal or a full snapshot ended: each doubles what the transfer may take from others
};
struct GetAsk {
  std::vector<std::uint32_t> stripes, digests;
};
struct Told {
  std::uint32_t stripe = 0;
  bool there = false;
  std::uint64_t digest = 0;
};
struct FollowAsk {
  OpId from = 0;        // 0: from what comes next
  bool retain = false;  // send nothing yet, but keep: a later Follow begins there
};

[[nodiscard]] std::vector<std::byte> encode(const TakeAsk& m);
[[nodiscard]] std::vector<std::byte> encode(const GetAsk& m);
[[nodiscard]] std::vector<std::byte> encode(const std::vector<Told>& m);
[[nodiscard]] std::vector<std::byte> encode(const FollowAsk& m);
[[nodiscard]] std::vector<std::byte> encode(const Holder::Version& m);
[[nodiscard]] std::vector<std::byte> encode_entry(const Entry& m);  // without its data
[[nodiscard]] std::optional<TakeAsk> decode_take(std::span<const std::byte> in);
[[nodiscard]] std::optional<GetAsk> decode_get(std::span<const std::byte> in);
[[nodiscard]] std::optional<std::vector<Told>> decode_told(std::span<const std::byte> in);
[[nodiscard]] std::optional<FollowAsk> decode_follow(std::span<const std::byte> in);
[[nodiscard]] std::optional<Holder::Version> decode_version(std::span<const std::byte> in);
// data is sized, not filled. The size is bounded by the caller.
[[nodiscard]] std::optional<Entry> decode_entry(std::span<const std::byte> in, std::uint64_t& bytes);

}  // namespace regroup::state
