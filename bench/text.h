// Byte sizes and numbers as text: "16M" in, columns of nccl-tests' width out. Pure; nothing is owned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace regroup::bench {

// "4", "64K", "16M", "1G", "16MiB", "1.5M": bytes, with powers of 1024. kInvalid names what does not parse or
// overflows.
Result<std::size_t> parse_bytes(std::string_view text);

// The shortest exact form: 65536 is "64 KiB", 100 is "100 B".
std::string format_bytes(std::size_t bytes);

// `value` right-aligned in `width` columns with two digits behind the point, fewer as it grows, as nccl-tests prints.
std::string fixed_width(double value, int width);

}  // namespace regroup::bench
