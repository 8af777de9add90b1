#include "transport/wire/address.h"

#include <sys/stat.h>

#include <fstream>
#include <span>

#include "base/bytes.h"
#include "transport/wire/frame.h"

namespace regroup::wire {

std::string encode(const MemberAddress& a) {
  Writer w;
  w.text(a.data_host);
  w.u16(a.data_port);
  w.u16(a.state_port);
  w.text(a.segment_socket);
  w.text(a.death_socket);
  w.u32(static_cast<std::uint32_t>(a.pid));
  w.u64(a.host);
  w.text(a.machine);
  const auto bytes = w.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<MemberAddress> decode_address(const std::string& bytes) {
  Reader r(std::as_bytes(std::span(bytes.data(), bytes.size())));
  MemberAddress a;
  a.data_host = r.text(64);
  a.data_port = r.u16();
  a.state_port = r.u16();
  a.segment_socket = r.text(100);
  a.death_socket = r.text(100);
  a.pid = static_cast<std::int32_t>(r.u32());
  a.host = r.u64();
  a.machine = r.text(kMachineBytes);
  if (!r.done()) return {Code::kRefused, "malformed member address"};
  return a;
}

std::uint64_t host_locality() {
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  std::string id;
  struct stat ns {};
  if (!std::getline(boot, id) || ::stat("/proc/self/ns/net", &ns) != 0) return 0;
  return group_hash(id + "/" + std::to_string(ns.st_ino)) | 1;
}

}  // namespace regroup::wire
