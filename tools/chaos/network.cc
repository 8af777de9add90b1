#include "tools/chaos/network.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "tools/chaos/command.h"

namespace regroup::chaos {
namespace {

constexpr const char* kSubnet = "10.99.0.";  // seen in the namespaces only
constexpr const char* kNoCut = "add table inet chaos\ndelete table inet chaos\n";

std::string host_address(int host) { return kSubnet + std::to_string(host + 2); }

// A thread enters a new namespace, opens it and ends; the descriptor keeps it.
Fd new_namespace() {
  Fd fd;
  std::thread([&fd] {
    if (::unshare(CLONE_NEWNET) == 0) fd.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
  return fd;
}

// The rules of a cut. The loopback of the host is never cut: its members go on talking to each other.
std::string rules_of(CutKind kind, const std::string& coordinator) {
  std::string in, out;
  switch (kind) {
    case CutKind::kBoth:
    case CutKind::kFlap: in = out = "drop"; break;
    case CutKind::kIn: in = "drop"; break;
    case CutKind::kOut: out = "drop"; break;
    case CutKind::kPeers:
      in = "ip saddr != " + coordinator + " drop";
      out = "ip daddr != " + coordinator + " drop";
      break;
    case CutKind::kLoss: in = out = "numgen random mod 100 < 50 drop"; break;
    default: return kNoCut;
  }
  std::string text = std::string(kNoCut) + "add table inet chaos\n";
  const auto chain = [&](const char* hook, const char* interface, const std::string& rule) {
    if (rule.empty()) return;
    text += std::string("add chain inet chaos ") + hook + " { type filter hook " + hook + " priority 0; }\n";
    text += std::string("add rule inet chaos ") + hook + " " + interface + " != \"lo\" " + rule + "\n";
  };
  chain("input", "iifname", in);
  chain("output", "oifname", out);
  return text;
}

Status status_of(const Result<std::string>& done) { return done.ok() ? Status{} : Status{done.error()}; }

}  // namespace

const char* name_of(CutKind kind) {
  constexpr const char* names[] = {"both", "in", "out", "peers", "flap", "loss", "reset", "delay"};
  return names[static_cast<int>(kind)];
}

std::string Network::why_not() {
  if (::geteuid() != 0) return "needs root (network namespaces)";
  for (const char* program : {"ip", "nft", "ss", "nsenter"})
    if (!has_program(program)) return std::string("needs the program ") + program;
  if (!new_namespace()) return std::string("no network namespace can be made: ") + std::strerror(errno);
  return "";
}

std::string Network::path_of(int host) const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" +
         std::to_string(host < 0 ? hub_.get() : hosts_[static_cast<std::size_t>(host)].get());
}

std::vector<std::string> Network::on(int host, const std::vector<std::string>& command) const {
  std::vector<std::string> line = {"nsenter", "--net=" + path_of(host)};
  line.insert(line.end(), command.begin(), command.end());
  return line;
}
std::string Network::coordinator_address() const { return std::string(kSubnet) + "1"; }

Result<std::unique_ptr<Network>> Network::make(int hosts) {
  std::unique_ptr<Network> network(new Network);
  if (Status s = network->build(hosts); !s.ok()) return s.error();
  return network;
}

Status Network::build(int hosts) {
  hub_ = new_namespace();
  if (!hub_) return {Code::kSystem, "no network namespace can be made"};
  for (const std::vector<std::string>& command : std::initializer_list<std::vector<std::string>>{
           {"ip", "link", "set", "lo", "up"},
           {"ip", "link", "add", "hub", "type", "bridge"},
           {"ip", "addr", "add", coordinator_address() + "/24", "dev", "hub"},
           {"ip", "link", "set", "hub", "up"}})
    if (auto done = run_command(on(-1, command)); !done.ok()) return done.error();
  for (int host = 0; host < hosts; ++host)
    if (Status s = connect(host); !s.ok()) return s;
  auto proxy = DelayProxy::start(hosts_.back().get());
  if (!proxy.ok()) return proxy.error();
  proxy_ = std::move(*proxy);
  return status_of(run_command(on(delayed_host(), {"nft", "add table ip proxy\nadd chain ip proxy output { type nat hook output priority -100; }\n"
                             "add rule ip proxy output meta mark != " + std::to_string(DelayProxy::kMark) +
                                 " ip daddr " + kSubnet + "0/24 ip daddr != " + host_address(delayed_host()) +
                                 " meta l4proto tcp redirect to :" + std::to_string(proxy_->port()) + "\n"})));
}

Status Network::connect(int host) {
  hosts_.push_back(new_namespace());
  if (!hosts_.back()) return {Code::kSystem, "no network namespace can be made"};
  const std::string link = "h" + std::to_string(host);
  for (const std::vector<std::string>& line :
       {on(-1, {"ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", path_of(host)}),
        on(-1, {"ip", "link", "set", link, "master", "hub", "up"}),
        on(host, {"ip", "link", "set", "lo", "up"}),
        on(host, {"ip", "addr", "add", host_address(host) + "/24", "dev", "eth0"}),
        on(host, {"ip", "link", "set", "eth0", "up"})})
    if (auto done = run_command(line); !done.ok()) return done.error();
  return {};
}

Status Network::cut(int host, CutKind kind, Duration delay) {
  if (kind == CutKind::kDelay) return proxy_->set_delay(delay), Status{};
  if (kind == CutKind::kReset) return status_of(run_command(on(host, {"ss", "-K", "dst", std::string(kSubnet) + "0/24"})));
  return status_of(run_command(on(host, {"nft", rules_of(kind, coordinator_address())})));
}

Status Network::heal(int host) {
  if (host == delayed_host()) proxy_->set_delay(Duration{0});
  return status_of(run_command(on(host, {"nft", kNoCut})));
}

}  // namespace regroup::chaos
