#include "bench/buffers.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace regroup::bench {
namespace {

constexpr std::size_t kAlignment = 4096;

}  // namespace

Result<void*> Buffers::allocate_one(Group& group, std::size_t bytes, Where where) {
  const std::size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
  if (where == Where::kRegistered) return group.allocate(padded);
  if (where == Where::kDevice) return side_->allocate(padded);
  void* memory = std::aligned_alloc(kAlignment, padded);
  if (memory == nullptr) return {Code::kNoMemory, "a private buffer of " + std::to_string(padded) + " bytes"};
  std::memset(memory, 0, padded);
  return memory;
}

Status Buffers::allocate(Group& group, std::size_t in_bytes, std::size_t out_bytes, Where where) {
  if (where == Where::kRegistered) group_ = &group;
  if (where == Where::kDevice) {
    auto side = DeviceSide::make(group.device(), group.options().wait_timeout_s);
    if (!side.ok()) return side.error();
    side_ = std::move(*side);
  }
  auto in = allocate_one(group, in_bytes, where);
  if (!in.ok()) return in.error();
  in_ = *in;
  auto out = allocate_one(group, out_bytes, where);
  if (!out.ok()) return out.error();
  out_ = *out;
  bytes_ = in_bytes + out_bytes;
  return {};
}

Buffers::~Buffers() {
  if (side_ != nullptr) return;
  for (void* memory : {in_, out_}) {
    if (memory == nullptr) continue;
    if (group_ != nullptr) {
      Status ignored = group_->deallocate(memory);  // the group frees what is left
      static_cast<void>(ignored);
    } else {
      std::free(memory);
    }
  }
}

bool on_huge_pages(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t from = 0, to = 0;
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
      inside = wanted >= from && wanted < to;
    } else if (inside && (std::sscanf(line.c_str(), "ShmemPmdMapped: %lu kB", &kib) == 1 ||
                          std::sscanf(line.c_str(), "FilePmdMapped: %lu kB", &kib) == 1 ||
                          std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kib) == 1)) {
      if (kib > 0) return true;
    } else if (inside && std::sscanf(line.c_str(), "KernelPageSize: %lu kB", &kib) == 1 && kib >= 2048) {
      return true;
    }
  }
  return false;
}

}  // namespace regroup::bench
