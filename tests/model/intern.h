// Interner: every distinct value of a component is kept once and named by a small number, so that a state of the world
// is a handful of numbers and what a component does on an input is computed once. Beside each value stand 64-bit
// signatures of it under every renaming of the members.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/model/bytes.h"

namespace regroup::model {

inline std::uint64_t mix(std::uint64_t h, std::uint64_t v) {
  h = (h ^ v) * 0xbf58476d1ce4e5b9ull;
  return (h ^ h >> 29) * 0x94d049bb133111ebull;
}
inline std::uint64_t signature(const std::string& bytes) {
  std::uint64_t h = 0x9e3779b97f4a7c15ull + bytes.size();
  for (const char c : bytes) h = mix(h, static_cast<unsigned char>(c));
  return h;
}

template <class T>
class Interner {
 public:
  explicit Interner(const std::vector<Renaming>& renamings) : renamings_(renamings) {}

  // T has `void put(Bytes&) const`: equal values, equal bytes.
  std::uint32_t id(T value) {
    Bytes plain;
    value.put(plain);
    auto [it, fresh] = ids_.try_emplace(plain.take(), static_cast<std::uint32_t>(values_.size()));
    if (!fresh) return it->second;
    for (const Renaming& names : renamings_) {
      Bytes out(names);
      value.put(out);
      signatures_.push_back(signature(out.take()));
    }
    values_.push_back(std::move(value));
    return it->second;
  }
  const T& operator[](std::uint32_t id) const { return values_[id]; }
  [[nodiscard]] std::uint64_t signature_of(std::uint32_t id, std::size_t renaming) const {
    return signatures_[id * renamings_.size() + renaming];
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  const std::vector<Renaming>& renamings_;
  std::unordered_map<std::string, std::uint32_t> ids_;
  std::deque<T> values_;
  std::vector<std::uint64_t> signatures_;
};

}  // namespace regroup::model
