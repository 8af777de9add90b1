// Result<T>: an expected outcome, with a closed set of codes and a detail that says what, where and what to do.
// A bug is not a Result: it is a CHECK (base/check.h). No exceptions cross our interfaces.
// This header is public (installed below regroup/) and includes nothing of ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#ifndef REGROUP_API
#define REGROUP_API __attribute__((visibility("default")))  // leaves libregroup.so; everything else is hidden
#endif

namespace regroup {

// The closed set of outcomes. Values are part of the wire format and the C boundary: append only.
enum class Code : std::uint8_t {
  kOk = 0,
  kTimeout = 1,       // the wait's deadline passed; the operation is still pending, nothing was abandoned
  kUnavailable = 2,   // too few members, or no coordinator, for longer than the bound; this incarnation is finished
  kViewChanged = 3,   // the shape of the operation was the membership, and that changed; buffers intact; go on
  kMismatch = 4,      // two members gave different counts, types or operations for one op; buffers intact; go on
  kCancelled = 5,     // a decision failed the op because a member asked for it; buffers intact; go on
  kEvicted = 6,       // the view went on without us; registered state is restored when the group has rejoined
  kInvalid = 7,       // bad argument; nothing was submitted
  kConfig = 8,        // configurations differ, an unknown option, a value out of range
  kRefused = 9,       // the peer refused us: wrong log id, secret, version, duplicate member
  kSystem = 10,       // the operating system said no (errno in the detail)
  kNoMemory = 11,     // memory could not be had when a segment was made; or an op needs more than staging_bytes
  kUnsupported = 12,  // not here
  kClosed = 13,       // the group has been left or closed
};

// The field's name of a code: "kTimeout" and so on.
[[nodiscard]] REGROUP_API const char* code_name(Code code) noexcept;

struct Error {
  Code code = Code::kOk;
  std::string detail;
};

// Holds a T or an Error. Move-only when T is. Reading the wrong side aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                    // NOLINT: implicit by design
  Result(Error error) : error_(std::move(error)) {}                // NOLINT
  Result(Code code, std::string detail) : error_{code, std::move(detail)} {}

  [[nodiscard]] bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] Code code() const noexcept { return ok() ? Code::kOk : error_.code; }
  [[nodiscard]] const Error& error() const noexcept { return error_; }
  T& value() & { return need(), *value_; }
  const T& value() const& { return need(), *value_; }
  T&& value() && { return need(), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void need() const {
    if (!ok()) __builtin_trap();
  }
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT
  Result(Code code, std::string detail) : error_{code, std::move(detail)} {}
  [[nodiscard]] bool ok() const noexcept { return error_.code == Code::kOk; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] Code code() const noexcept { return error_.code; }
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

using Status = Result<void>;

}  // namespace regroup
