{
  "targets": [
    {
      "target_name": "lenet5_libtorch",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "CMakeLists.txt is the one build definition; this delegates to it",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["build/Release/lenet5_fused.node", "build/Release/lenet5_libtorch.node"],
          "action": ["node", "scripts/build-native.mjs"]
        }
      ]
    }
  ]
}
