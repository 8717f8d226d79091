/* Runs a SavedModel on one image with TensorFlow's C API, without Python: class ids to the standard output, one row of
 * the image a line, and the probabilities as raw float32 to a file.
 *
 *     TF=$(python -c "import tensorflow, os; print(os.path.dirname(tensorflow.__file__))")
 *     gcc run_saved_model.c -o run_saved_model -I$TF/include -L$TF -l:libtensorflow_cc.so.2 \
 *         -l:libtensorflow_framework.so.2 -Wl,-rpath,$TF
 *     ./run_saved_model cacnet/1 serving_default_images StatefulPartitionedCall_3:0 StatefulPartitionedCall_3:1 \
 *         480 640 image.rgb probabilities.f32
 *
 * The names of the tensors are those of this SavedModel, and others in another (_3 where there is serve_multiscale):
 * `saved_model_cli show --dir cacnet/1 --tag_set serve --signature_def serving_default` prints them. image.rgb holds
 * height x width x 3 bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void require(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "%s\n", what);
    exit(1);
  }
}

static void require_ok(TF_Status *status) { require(TF_GetCode(status) == TF_OK, TF_Message(status)); }

/* "name:1" or "name" to an output of the graph. */
static TF_Output output_named(TF_Graph *graph, char *name) {
  TF_Output output = {NULL, 0};
  char *colon = strchr(name, ':');
  if (colon) {
    output.index = atoi(colon + 1);
    *colon = '\0';
  }
  output.oper = TF_GraphOperationByName(graph, name);
  require(output.oper != NULL, "no operation of this name in the graph");
  return output;
}

int main(int count, char **arguments) {
  require(count == 9, "usage: run_saved_model MODEL IMAGES CLASS_IDS PROBABILITIES HEIGHT WIDTH IMAGE_FILE OUTPUT_FILE");
  int64_t height = atoll(arguments[5]), width = atoll(arguments[6]);
  const char *tags[] = {"serve"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  require_ok(status);

  int64_t shape[] = {1, height, width, 3};
  TF_Tensor *image = TF_AllocateTensor(TF_UINT8, shape, 4, height * width * 3);
  FILE *file = fopen(arguments[7], "rb");
  require(file != NULL, "the image cannot be opened");
  require(fread(TF_TensorData(image), 1, TF_TensorByteSize(image), file) == TF_TensorByteSize(image),
          "the image has fewer bytes than height x width x 3");
  fclose(file);

  TF_Output input = output_named(graph, arguments[2]);
  TF_Output outputs[] = {output_named(graph, arguments[3]), output_named(graph, arguments[4])};
  TF_Tensor *results[2];
  TF_SessionRun(session, NULL, &input, &image, 1, outputs, results, 2, NULL, 0, NULL, status);
  require_ok(status);

  const int32_t *ids = TF_TensorData(results[0]);
  for (int64_t row = 0; row < height; ++row)
    for (int64_t column = 0; column < width; ++column)
      printf("%d%c", ids[row * width + column], column + 1 < width ? ' ' : '\n');
  file = fopen(arguments[8], "wb");
  require(file != NULL, "the probabilities cannot be written");
  size_t size = TF_TensorByteSize(results[1]);
  require(fwrite(TF_TensorData(results[1]), 1, size, file) == size, "the probabilities cannot be written");
  fclose(file);

  TF_DeleteTensor(image);
  TF_DeleteTensor(results[0]);
  TF_DeleteTensor(results[1]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
