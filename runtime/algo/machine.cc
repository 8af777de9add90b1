// Figures of a machine: as text, and agreed on by the members of a view.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "runtime/algo/cost.h"

namespace regroup::algo {
namespace {

// The one list of figures: f(name, field).
template <class Self, class F>
void each(Self& m, F f) {
  f("copy_gbps", m.copy_gbps);
  f("fold_gbps", m.fold_gbps);
  f("memory_gbps", m.memory_gbps);
  f("hop_us", m.hop_us);
  f("net_gbps", m.net_gbps);
  f("net_hop_us", m.net_hop_us);
  f("net_msg_us", m.net_msg_us);
  f("turn_us", m.turn_us);
  f("fan_loss", m.fan_loss);
  f("cache_bytes", m.cache_bytes);
  f("cores", m.cores);
  f("host_members", m.host_members);
  f("small_bytes", m.small_bytes);
}

}  // namespace

Status Machine::set(std::string_view key_value) {
  const std::size_t equals = key_value.find('=');
  const std::string key(key_value.substr(0, equals));
  const std::string_view text = equals == std::string_view::npos ? std::string_view() : key_value.substr(equals + 1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || value > 1e12)
    return {Code::kConfig, "'" + std::string(key_value) + "': not NAME=POSITIVE NUMBER"};
  Status status(Code::kConfig, "'" + key + "' is no figure of a machine");
  each(*this, [&](const char* name, auto& field) {
    if (key != name) return;
    using Field = std::remove_reference_t<decltype(field)>;
    if (!std::is_same_v<Field, double> && value < 1) return;
    field = static_cast<Field>(value);
    status = {};
  });
  return status;
}

Status Machine::parse(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    const std::size_t end = std::min(text.find_first_of(" ,\t\r\n#", at), text.size());
    if (end > at)
      if (Status s = set(text.substr(at, end - at)); !s) return s;
    at = end + (end < text.size() && text[end] != '#' ? 1 : 0);
  }
  return {};
}

std::string Machine::text() const {
  std::string text;
  each(*this, [&](const char* name, const auto& field) {
    char digits[64];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, field);  // shortest that reads back the same
    text += (text.empty() ? "" : " ") + std::string(name) + "=" + std::string(digits, end);
  });
  return text;
}

Machine agree(const std::vector<MemberMachine>& members) {
  Machine worst;
  std::map<std::string_view, std::size_t> on_host;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Machine& m = members[i].machine;
    ++on_host[members[i].host];
    if (i == 0) {
      worst = m;
      continue;
    }
    worst.copy_gbps = std::min(worst.copy_gbps, m.copy_gbps);
    worst.fold_gbps = std::min(worst.fold_gbps, m.fold_gbps);
    worst.memory_gbps = std::min(worst.memory_gbps, m.memory_gbps);
    worst.hop_us = std::max(worst.hop_us, m.hop_us);
    worst.net_gbps = std::min(worst.net_gbps, m.net_gbps);
    worst.net_hop_us = std::max(worst.net_hop_us, m.net_hop_us);
    worst.net_msg_us = std::max(worst.net_msg_us, m.net_msg_us);
    worst.turn_us = std::max(worst.turn_us, m.turn_us);
    worst.fan_loss = std::max(worst.fan_loss, m.fan_loss);
    worst.cache_bytes = std::min(worst.cache_bytes, m.cache_bytes);
    worst.cores = std::min(worst.cores, m.cores);
    worst.small_bytes = std::min(worst.small_bytes, m.small_bytes);
  }
  worst.host_members = 1;
  for (const auto& [host, count] : on_host) worst.host_members = std::max(worst.host_members, count);
  return worst;
}

}  // namespace regroup::algo
