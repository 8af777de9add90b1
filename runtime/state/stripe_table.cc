#include "runtime/state/stripe_table.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace regroup::state {
namespace {

constexpr std::size_t kNamed = 8;  // differences that an error names
constexpr std::uint64_t kMaxStateBytes = 1ull << 42;

}  // namespace

std::uint64_t digest_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string describe(const Tensor& tensor) {
  std::string text = std::string(name_of(tensor.type)) + "[";
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
  if (tensor.shape.empty()) text += std::to_string(tensor.bytes / size_of(tensor.type));
  return text + "]";
}

// No list of stripes: who says that it holds 4 TiB must not make us keep 16 million of them.
StripeTable::StripeTable(std::vector<Tensor> tensors, std::uint32_t stripe_bytes)
    : tensors_(std::move(tensors)), stripe_bytes_(stripe_bytes) {
  std::uint32_t count = 0;
  for (const Tensor& t : tensors_) {
    first_.push_back(count);
    count += static_cast<std::uint32_t>((t.bytes + stripe_bytes_ - 1) / stripe_bytes_);
  }
  first_.push_back(count);
}

Stripe StripeTable::operator[](std::uint32_t i) const {
  const auto after = std::upper_bound(first_.begin(), first_.end(), i);  // behind tensors without a byte, too
  const auto tensor = static_cast<std::uint32_t>(after - first_.begin() - 1);
  const std::uint64_t at = std::uint64_t{i - first_[tensor]} * stripe_bytes_;
  return {tensor, at, static_cast<std::uint32_t>(std::min<std::uint64_t>(stripe_bytes_, tensors_[tensor].bytes - at))};
}

std::uint64_t StripeTable::bytes() const {
  std::uint64_t sum = 0;
  for (const Tensor& t : tensors_) sum += t.bytes;
  return sum;
}

StripeTable::Range StripeTable::overlapping(std::uint32_t tensor, std::uint64_t offset, std::uint64_t bytes) const {
  if (tensor >= tensors_.size() || bytes == 0 || offset >= tensors_[tensor].bytes) return {};
  const std::uint64_t end = std::min(tensors_[tensor].bytes, offset + std::min(bytes, tensors_[tensor].bytes));
  return {first_[tensor] + static_cast<std::uint32_t>(offset / stripe_bytes_),
          first_[tensor] + static_cast<std::uint32_t>((end + stripe_bytes_ - 1) / stripe_bytes_)};
}

Status StripeTable::compare(const StripeTable& theirs) const {
  std::vector<std::string> differences;
  const auto by_name = [](const StripeTable& table) {
    std::map<std::string_view, const Tensor*> all;
    for (const Tensor& t : table.tensors_) all.emplace(t.name, &t);
    return all;
  };
  const auto here = by_name(*this), there = by_name(theirs);
  for (const Tensor& mine : tensors_) {
    const auto found = there.find(mine.name);
    if (found == there.end()) {
      differences.push_back("'" + mine.name + "' is only here");
      continue;
    }
    const Tensor& other = *found->second;
    if (describe(mine) != describe(other) || mine.bytes != other.bytes)
      differences.push_back("'" + mine.name + "' is " + describe(mine) + " here and " + describe(other) + " there");
  }
  for (const Tensor& other : theirs.tensors_)
    if (!here.contains(other.name)) differences.push_back("'" + other.name + "' is only there");
  if (differences.empty() && (stripe_bytes_ != theirs.stripe_bytes_ || size() != theirs.size()))
    differences.push_back("its stripes");
  for (std::size_t i = 0; differences.empty() && i < tensors_.size(); ++i)
    if (tensors_[i].name != theirs.tensors_[i].name) differences.push_back("the order, from '" + tensors_[i].name + "'");
  if (differences.empty()) return {};
  std::string text = "registered state differs: ";
  for (std::size_t i = 0; i < std::min(kNamed, differences.size()); ++i) text += (i == 0 ? "" : "; ") + differences[i];
  if (differences.size() > kNamed) text += "; and " + std::to_string(differences.size() - kNamed) + " more";
  return {Code::kConfig, std::move(text)};
}

void StripeTable::encode(Writer& out) const {
  out.u32(stripe_bytes_);
  out.u32(static_cast<std::uint32_t>(tensors_.size()));
  for (const Tensor& t : tensors_) {
    out.text(t.name);
    out.u8(static_cast<std::uint8_t>(t.type));
    out.u32(static_cast<std::uint32_t>(t.shape.size()));
    for (std::uint64_t d : t.shape) out.u64(d);
    out.u64(t.bytes);
  }
}

Result<StripeTable> StripeTable::decode(Reader& in) {
  const Error bad{Code::kRefused, "malformed table of state"};
  const std::uint32_t stripe_bytes = in.u32();
  std::vector<Tensor> tensors;
  std::set<std::string> names;
  std::uint64_t sum = 0;
  const std::uint32_t count = in.count(kMaxTensors);
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    Tensor t;
    t.name = in.text(255);
    const std::uint8_t type = in.u8();
    if (type >= kDataTypeCount) return bad;
    t.type = static_cast<DataType>(type);
    const std::uint32_t dims = in.count(kMaxDims);
    for (std::uint32_t d = 0; d < dims && in.ok(); ++d) t.shape.push_back(in.u64());
    t.bytes = in.u64();
    if (!names.insert(t.name).second || t.bytes > kMaxStateBytes || (sum += t.bytes) > kMaxStateBytes) return bad;
    tensors.push_back(std::move(t));
  }
  if (!in.ok() || stripe_bytes < 4096 || stripe_bytes > (1u << 20) || sum / stripe_bytes > (1u << 24)) return bad;
  return StripeTable(std::move(tensors), stripe_bytes);
}

}  // namespace regroup::state
