// Canonical bytes of protocol values: equal states have equal bytes. Texts for people and constants of a run are left
// out, so that states which differ in them alone are one. A Renaming gives the bytes of the state with its members
// renamed: what is a set to the protocol is written in an order that no name decides.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/time.h"
#include "ft/core/messages.h"

namespace regroup::model {

// Slot s becomes to[s]. Incarnations are named by slots (hi = slot + 1).
struct Renaming {
  std::array<std::uint8_t, 8> to{0, 1, 2, 3, 4, 5, 6, 7};
  [[nodiscard]] int slot(int s) const { return to[static_cast<std::size_t>(s)]; }
  [[nodiscard]] unsigned mask(unsigned m) const {
    unsigned out = 0;
    for (int s = 0; m >> s != 0; ++s)
      if (m >> s & 1) out |= 1u << slot(s);
    return out;
  }
};

class Bytes {
 public:
  explicit Bytes(const Renaming& names = {}) : names_(names) {}
  [[nodiscard]] const Renaming& names() const { return names_; }
  template <class... Ts>
  void put(const Ts&... values) {
    (one(values), ...);
  }
  std::string take() { return std::move(out_); }

 private:
  // Members of a view and joiners stand in the order of their ids: a set to everybody but the words of the commit
  // counter.
  template <class T>
  static constexpr bool kOrdered = !std::is_same_v<T, MemberInfo> && !std::is_same_v<T, Incarnation>;
  struct Any {  // stands for any field, to count the fields of an aggregate
    template <class T>
    operator T() const;
  };
  template <class T, class... Args>
  static constexpr std::size_t fields() {
    if constexpr (requires { T{Args{}..., Any{}}; })
      return fields<T, Args..., Any>();
    else
      return sizeof...(Args);
  }

  void one(std::uint64_t v) {  // small numbers are one byte
    for (; v >= 128; v >>= 7) out_.push_back(static_cast<char>(v | 128));
    out_.push_back(static_cast<char>(v));
  }
  void one(const std::string&) {}
  void one(const Incarnation& inc) {
    one(std::uint64_t{inc.is_null() ? 0u : static_cast<unsigned>(names_.slot(static_cast<int>(inc.hi) - 1)) + 1u});
  }
  void one(const MemberId&) {}  // goes with the incarnation
  void one(const MemberInfo& info) { one(info.inc); }
  void one(const Instant& t) { one(static_cast<std::uint64_t>(t.ns)); }
  template <class T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void one(const T& v) { one(static_cast<std::uint64_t>(v)); }
  template <class T>
  void one(const std::optional<T>& v) {
    one(std::uint64_t{v.has_value()});
    if (v) one(*v);
  }
  template <class A, class B>
  void one(const std::pair<A, B>& v) {
    put(v.first, v.second);
  }
  template <class... Ts>
  void one(const std::variant<Ts...>& v) {
    one(std::uint64_t{v.index()});
    std::visit([&](const auto& x) { one(x); }, v);
  }
  template <class T>
  requires requires(const T& t) {
    t.begin();
    t.end();
    t.size();
    typename T::value_type;
  }
  void one(const T& v) {
    one(std::uint64_t{v.size()});
    if constexpr (kOrdered<typename T::value_type> && !requires { typename T::key_type; }) {
      for (const auto& x : v) put(x);
    } else {
      std::vector<std::string> parts;
      for (const auto& x : v) {
        Bytes part(names_);
        part.put(x);
        parts.push_back(part.take());
      }
      std::sort(parts.begin(), parts.end());
      for (const std::string& p : parts) out_ += p;
    }
  }
  template <class T>
  requires std::is_aggregate_v<T>
  void one(const T& v) {
    constexpr std::size_t n = fields<T>();
    static_assert(n <= 11);
    if constexpr (n == 1) {
      const auto& [a] = v;
      put(a);
    } else if constexpr (n == 2) {
      const auto& [a, b] = v;
      put(a, b);
    } else if constexpr (n == 3) {
      const auto& [a, b, c] = v;
      put(a, b, c);
    } else if constexpr (n == 4) {
      const auto& [a, b, c, d] = v;
      put(a, b, c, d);
    } else if constexpr (n == 5) {
      const auto& [a, b, c, d, e] = v;
      put(a, b, c, d, e);
    } else if constexpr (n == 6) {
      const auto& [a, b, c, d, e, f] = v;
      put(a, b, c, d, e, f);
    } else if constexpr (n == 7) {
      const auto& [a, b, c, d, e, f, g] = v;
      put(a, b, c, d, e, f, g);
    } else if constexpr (n == 8) {
      const auto& [a, b, c, d, e, f, g, h] = v;
      put(a, b, c, d, e, f, g, h);
    } else if constexpr (n == 9) {
      const auto& [a, b, c, d, e, f, g, h, i] = v;
      put(a, b, c, d, e, f, g, h, i);
    } else if constexpr (n == 10) {
      const auto& [a, b, c, d, e, f, g, h, i, j] = v;
      put(a, b, c, d, e, f, g, h, i, j);
    } else if constexpr (n == 11) {
      const auto& [a, b, c, d, e, f, g, h, i, j, k] = v;
      put(a, b, c, d, e, f, g, h, i, j, k);
    }
  }
  Renaming names_;
  std::string out_;
};

}  // namespace regroup::model
