#include "ft/sim/history.h"

#include <cinttypes>
#include <cstdio>

namespace regroup::sim {

const char* name_of(What what) {
  constexpr const char* names[] = {"submitted", "prepared", "wedge",    "durable", "install",
                                   "committed", "failed",   "restored", "ended",
                                   "message_sent", "message_taken", "message_failed"};
  static_assert(std::size(names) == static_cast<std::size_t>(What::kCount));
  return what < What::kCount ? names[static_cast<std::size_t>(what)] : "?";
}

std::string to_json(const Record& r) {
  char line[512];
  int n = std::snprintf(line, sizeof line,
                        "{\"time_ns\":%" PRId64 ",\"life\":%u,\"replica\":%u,\"event\":\"%s\",\"op\":%" PRIu64
                        ",\"epoch\":%" PRIu64 ",\"log\":%" PRIu64,
                        r.time_ns, r.life, r.replica, name_of(r.what), r.op, r.epoch, r.log);
  const auto add = [&](const char* format, auto... values) {
    if (n < static_cast<int>(sizeof line)) n += std::snprintf(line + n, sizeof line - static_cast<std::size_t>(n), format, values...);
  };
  switch (r.what) {
    case What::kSubmitted: add(",\"mark\":%d", int{r.mark}); break;
    case What::kDurable:
      add(",\"prev\":%" PRIu64 ",\"high\":%" PRIu64 ",\"planned\":%d,\"founded\":%d,\"decision\":%" PRIu64, r.prev, r.high,
          int{r.planned}, int{r.founded}, r.decision);
      break;
    case What::kInstall: add(",\"decision\":%" PRIu64, r.decision); break;
    case What::kCommitted:
      add(",\"contributors\":%" PRIu64 ",\"divisor\":%u,\"counts\":%" PRIu64 ",\"tag\":%" PRIu64 ",\"expected_counts\":%" PRIu64
          ",\"expected_tag\":%" PRIu64,
          r.contributors, r.divisor, r.value.counts, r.value.tag, r.expected.counts, r.expected.tag);
      break;
    case What::kFailed: add(",\"code\":%d,\"untouched\":%d", static_cast<int>(r.code), int{r.untouched}); break;
    case What::kMessageTaken:
      add(",\"counts\":%" PRIu64 ",\"tag\":%" PRIu64 ",\"expected_counts\":%" PRIu64 ",\"expected_tag\":%" PRIu64, r.value.counts,
          r.value.tag, r.expected.counts, r.expected.tag);
      [[fallthrough]];
    case What::kMessageSent:
    case What::kMessageFailed: add(",\"peer\":%u,\"sends\":%d", r.peer, int{r.sends}); break;
    case What::kEnded: add(",\"code\":%d", static_cast<int>(r.code)); break;
    case What::kRestored: add(",\"state\":%" PRIu64, r.state); break;
    default: break;
  }
  return std::string(line) + "}\n";
}

}  // namespace regroup::sim
