// Writer and Reader: explicit little-endian encoding with every length bounded. Used by all codecs.
// Reader never throws and never reads past its end: after a short read ok() is false and values are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace regroup {

class Writer {
 public:
  void u8(std::uint8_t v) { out_.push_back(static_cast<std::byte>(v)); }
  void u16(std::uint16_t v) { le(v, 2); }
  void u32(std::uint32_t v) { le(v, 4); }
  void u64(std::uint64_t v) { le(v, 8); }
  void text(std::string_view v) {  // u32 length, then the bytes
    u32(static_cast<std::uint32_t>(v.size()));
    const auto* p = reinterpret_cast<const std::byte*>(v.data());
    out_.insert(out_.end(), p, p + v.size());
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return out_; }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  void le(std::uint64_t v, int n) {
    for (int i = 0; i < n; ++i) u8(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  std::vector<std::byte> out_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  std::uint8_t u8() { return static_cast<std::uint8_t>(le(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(le(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(le(4)); }
  std::uint64_t u64() { return le(8); }
  std::string text(std::size_t max_bytes) {
    const std::size_t n = u32();
    if (n > max_bytes || n > in_.size() - at_) return fail(), std::string();
    std::string v(reinterpret_cast<const char*>(in_.data()) + at_, n);
    at_ += n;
    return v;
  }
  // A count of things that follow, refused above `max`.
  std::uint32_t count(std::uint32_t max) {
    const std::uint32_t n = u32();
    return n > max ? (fail(), 0) : n;
  }
  void fail() { ok_ = false, at_ = in_.size(); }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && at_ == in_.size(); }  // whole and nothing left over
  [[nodiscard]] std::size_t left() const { return in_.size() - at_; }

 private:
  std::uint64_t le(std::size_t n) {
    if (in_.size() - at_ < n) return fail(), 0;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v |= std::uint64_t(std::to_integer<std::uint8_t>(in_[at_ + i])) << (8 * i);
    at_ += n;
    return v;
  }
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace regroup
