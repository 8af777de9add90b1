// Everything of the public API.
#pragma once

#include "regroup/group.h"
#include "regroup/options.h"
#include "regroup/types.h"
