// Configuration text (runtime/api options, base/failpoint, host:port of ft/driver/net): lines of key=value.
// Held: a size that is taken is the number that stands there; what was set shows in the effective values; options that
// pass validation have timeouts that fit a Duration; host:port gives its text back.
#include "regroup/options.h"

#include "base/failpoint.h"
#include "base/time.h"
#include "ft/driver/net.h"
#include "tests/fuzz/source.h"

using namespace regroup;

namespace {

// "64M": written again, wide enough for every text.
bool reference(std::string_view text, std::uint64_t& value) {
  constexpr std::string_view units = "kmgKMG";
  int shift = 0;
  if (!text.empty())
    if (const std::size_t at = units.find(text.back()); at != units.npos)
      shift = 10 * static_cast<int>(at % 3 + 1), text.remove_suffix(1);
  if (text.empty() || text.size() > 25) return false;
  unsigned __int128 wide = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    wide = wide * 10 + static_cast<unsigned>(c - '0');
  }
  wide <<= shift;
  value = static_cast<std::uint64_t>(wide);
  return wide <= UINT64_MAX;
}

void set(Options& options, std::string_view key, std::string_view value) {
  const Status status = options.set(key, value);
  if (!status.ok()) {
    RG_CHECK(status.code() == Code::kConfig);
    return;
  }
  std::uint64_t bytes = 0;
  if (key == "staging_bytes" && value.size() <= 25) RG_CHECK(reference(value, bytes) && bytes == options.staging_bytes);
  bool shown = false;
  for (const auto& [name, text] : options.effective()) {
    if (name != key) continue;
    shown = true;
    if (key == "group" || key == "transport" || key == "failpoints") RG_CHECK(text == value);
    if (key == "secret" && !value.empty()) RG_CHECK(text == "****");
  }
  RG_CHECK(shown);
}

}  // namespace

FUZZ_TARGET(options) {
  std::string text = fuzz::text_of(in);
  Options options;
  options.rank = 0;
  options.world_size = 1;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::size_t eq = line.find('=');
    if (eq != line.npos) set(options, line.substr(0, eq), line.substr(eq + 1));
    if (const auto where = net::parse_host_port(std::string(line))) {
      const auto again = net::parse_host_port(net::to_string(*where));
      RG_CHECK(again.ok() && again->host == where->host && again->port == where->port);
    }
    (void)Failpoints().arm(line).ok();
  }
  (void)options.shared_text();
  if (!options.validate()) return;
  for (const double s : {options.join_timeout_s, options.wait_timeout_s, options.unavailable_timeout_s})
    RG_CHECK(s > 0 && s * 1e9 < static_cast<double>(INT64_MAX));
}
