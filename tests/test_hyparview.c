#include "test.h"
CU_TestInfo suite_hyparview[] = {CU_TEST_INFO_NULL};
