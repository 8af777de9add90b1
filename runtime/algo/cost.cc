#include "runtime/algo/cost.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace regroup::algo {

Status Machine::set(std::string_view key_value) {
  const std::size_t equals = key_value.find('=');
  const std::string key(key_value.substr(0, equals));
  const std::string_view text = equals == std::string_view::npos ? std::string_view() : key_value.substr(equals + 1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || value > 1e12)
    return {Code::kConfig, "'" + std::string(key_value) + "': not NAME=POSITIVE NUMBER"};
  if (key == "copy_gbps")
    copy_gbps = value;
  else if (key == "memory_gbps")
    memory_gbps = value;
  else if (key == "hop_us")
    hop_us = value;
  else if (key == "net_gbps")
    net_gbps = value;
  else if (key == "net_hop_us")
    net_hop_us = value;
  else if (key == "cores" && value >= 1)
    cores = static_cast<std::size_t>(value);
  else if (key == "small_bytes")
    small_bytes = static_cast<std::size_t>(value);
  else
    return {Code::kConfig, "'" + key + "' is no figure of a machine"};
  return {};
}

Estimate estimate(const Plan& plan, const OpDesc& desc, std::size_t self, Medium medium, const Machine& machine,
                  bool private_input) {
  const std::size_t n = plan.takes.size();
  const bool shared = medium == Medium::kShared, small = plan.largest_bytes <= machine.small_bytes;
  Estimate e;
  e.plan = small ? "small" : shared ? "waist" : "direct";
  std::size_t taken = 0;
  for (const Take& take : plan.takes) taken += take.bytes;
  const auto make = [&](const std::vector<Piece>& pieces) {  // read and written
    for (const Piece& piece : pieces) e.moved += piece.bytes * (piece.fold ? n + 1 : 2);
  };
  if (small) {
    make(plan.result);
    e.moved += 2 * plan.input_bytes + 2 * plan.output_bytes;
    e.hops = 2;
    if (!shared) e.sent = (n - 1) * plan.input_bytes;
  } else {
    if (plan.reads_inputs && (desc.scaled() || (shared && private_input && n > 1))) e.moved += 2 * plan.input_bytes;
    if (shared || desc.reduces()) make(plan.place);
    e.moved += 2 * taken;
    e.hops = 3;
    for (std::size_t i = 0; !shared && i < n; ++i)
      if (i != self) e.sent += plan.reads[i].bytes + plan.gives[i].bytes;
    if (!shared) e.moved += 2 * taken;  // received into staging
  }
  // Members of a host share its cores and its memory.
  const double turns = shared ? static_cast<double>((n + machine.cores - 1) / machine.cores) : 1;
  const double alone = static_cast<double>(e.moved) / machine.copy_gbps * turns;
  const double together = shared ? static_cast<double>(e.moved) * static_cast<double>(n) / machine.memory_gbps : 0;
  e.us =
      std::max(alone, together) / 1e3 + (shared ? machine.hop_us * turns : machine.net_hop_us) * (n > 1 ? e.hops : 0);
  if (!shared) e.us += static_cast<double>(e.sent) / machine.net_gbps / 1e3;
  return e;
}

}  // namespace regroup::algo
