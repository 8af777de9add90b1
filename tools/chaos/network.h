// Network: hosts of a chaos run as network namespaces on a bridge in a namespace of its own, and the faults of their links.
// The machine's own network is not touched. The last host's outgoing connections run through a delay proxy.
//
// Ownership: the namespaces live as long as this object and the processes in them; they have no names and leave nothing
// behind. Needs root, `ip`, `nft`, `ss` and `nsenter`: why_not() says what is missing. Threading: one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "tools/chaos/delay_proxy.h"

namespace regroup::chaos {

enum class CutKind : std::uint8_t {
  kBoth,   // nothing passes
  kIn,     // nothing comes in
  kOut,    // nothing goes out
  kPeers,  // nothing passes but to and from the coordinator
  kFlap,   // both ways, on and off every 150 ms
  kLoss,   // half of the packets, both ways
  kReset,  // every connection of the host is reset, once
  kDelay,  // what the last host sends, and gets back, waits 50 to 1500 ms in the proxy
  kCount
};
[[nodiscard]] const char* name_of(CutKind kind);

class Network {
 public:
  static constexpr int kMaxHosts = 4;
  // Empty: it can be made here.
  static std::string why_not();
  static Result<std::unique_ptr<Network>> make(int hosts);

  // The command line that runs a command on a host; -1: where the coordinator lives.
  [[nodiscard]] std::vector<std::string> on(int host, const std::vector<std::string>& command) const;
  [[nodiscard]] std::string coordinator_address() const;  // host part
  [[nodiscard]] int hosts() const { return static_cast<int>(hosts_.size()); }

  // kReset and kDelay of a host but the last (a delay is the last host's) included; kFlap is one kBoth, its caller's to
  // repeat. heal() ends any of them.
  Status cut(int host, CutKind kind, Duration delay = Duration{0});
  Status heal(int host);
  [[nodiscard]] int delayed_host() const { return hosts() - 1; }

 private:
  Network() = default;
  Status build(int hosts);
  Status connect(int host);
  [[nodiscard]] std::string path_of(int host) const;
  Fd hub_;
  std::vector<Fd> hosts_;
  std::unique_ptr<DelayProxy> proxy_;
};

}  // namespace regroup::chaos
