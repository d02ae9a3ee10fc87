#include "dsguard.h"
